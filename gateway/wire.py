"""One connection to a service: a request out, an answer in, strictly, and then the next.

Nothing is pipelined. A connection that saw anything odd (bytes nobody asked for, an answer without
a clear end, a head that is too large) is closed and its answer not trusted.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Protocol, cast

import httptools

if TYPE_CHECKING:
    from gateway.peer import Peer

MAX_HEAD_BYTES = 32 * 1024
"""Header names and values of one answer."""

Headers = list[tuple[bytes, bytes]]

is_usual = re.compile(
    rb"HTTP/1\.1 (20[01]|[45]\d\d) [ -~]*\r\n"
    rb"(content-type): ([!-~]+)\r\n(?:(etag): ([!-~]+)\r\n)?content-length: (\d{1,7})\r\n\r\n"
).match
"""The head of an answer as our services write most: recognised in one step instead of parsed.

It says where it ends, and that the connection stays.
"""


def usual(data: bytes) -> tuple[int, Headers, bytes] | None:
    """Return status, headers and body of a whole answer of the usual kind; None: it is none."""
    seen = is_usual(data)
    if seen is None or len(data) - seen.end() != int(seen[6]):
        return None
    headers = [(seen[2], seen[3])] if seen[4] is None else [(seen[2], seen[3]), (seen[4], seen[5])]
    return int(seen[1]), headers, data[seen.end() :]


class Asker(Protocol):
    """Who sent a request and is told what becomes of it."""

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""

    def begun(self, status: int, headers: Headers, length: int | None) -> None:
        """Take the head of an answer whose body follows piece by piece."""

    def piece(self, data: bytes) -> None:
        """Take a piece of the body."""

    def ended(self) -> None:
        """Learn that the body is complete."""

    def lost(self, *, odd: bool) -> None:
        """Learn that there will be no (more) answer.

        `odd`: the service answered, but not in HTTP as it is accepted here.
        """


class Wire(asyncio.Protocol):
    """A connection to one address of a service."""

    __slots__ = (
        "_asker",
        "_done",
        "_head_bytes",
        "_headers",
        "_heard",
        "_keep",
        "_length",
        "_odd",
        "_outbox",
        "_parser",
        "_parts",
        "_skipped",
        "_status",
        "_streaming",
        "_turn",
        "busy",
        "idle_since",
        "is_stream",
        "peer",
        "transport",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.busy = self.is_stream = False
        self.idle_since = 0.0
        self._asker: Asker | None = None
        self._outbox = peer.outbox
        self._turn = 0
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._status = 0
        self._head_bytes = 0
        self._length: int | None = None
        self._heard = self._done = self._odd = self._keep = self._streaming = self._skipped = False

    # --- what the pool and the asker do

    def send(self, asker: Asker, data: bytes) -> None:
        """Send one request; `asker` is told of the answer."""
        assert self._asker is None, "a connection carries one request at a time"
        self._asker = asker
        self._turn = self._outbox.turn
        self._outbox.put(self.transport, data, self._skip)

    def _skip(self) -> None:
        self._skipped = True

    @property
    def is_unsent(self) -> bool:
        """Whether not one byte of the request in flight was given to the system, nor will be."""
        return self._skipped or (self._turn == self._outbox.turn and self.transport.is_closing())

    def abandon(self, _: int = 0) -> None:
        """Give up the request in flight, and the connection with it."""
        self._asker = None
        self.transport.abort()

    def is_asked_by(self, asker: Asker) -> bool:
        """Say whether an answer to `asker` is still to come."""
        return self._asker is asker

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are asyncio's by duck, not by class.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came; hand on whole answers whole and others in pieces."""
        if self._asker is None:
            self.transport.abort()
            return
        if self._turn == self._outbox.turn:
            self._odd = True  # an answer to a request that was not sent yet
        elif not self._heard and (answer := usual(data)) is not None:
            self._take(self._asker, answer)
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._odd = True
        if self._odd:
            self._lose()
        elif self._done:
            self._finish(self._asker)
        elif self._status:
            self._pass_on(self._asker)

    def eof_received(self) -> bool:
        """Close: a service that has said all is not asked again."""
        return False

    def connection_lost(self, _: Exception | None) -> None:
        """Tell the asker and the pool."""
        self._lose()
        self.peer.gone(self)

    def pause_writing(self) -> None:
        """Nothing: a request is one write of at most one body."""

    def resume_writing(self) -> None:
        """Nothing, as above."""

    def _take(self, asker: Asker, answer: tuple[int, Headers, bytes]) -> None:
        """Hand on an answer that was recognised; the parser has not seen it."""
        self._asker = None
        asker.answered(*answer)
        self.peer.free(self)

    def _finish(self, asker: Asker) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        status, headers, streaming = self._status, self._headers, self._streaming
        keep = self._keep
        self._asker = None
        self._reset()
        if not streaming:
            asker.answered(status, headers, body)
        else:
            if body:
                asker.piece(body)
            asker.ended()
        if keep:
            self.peer.free(self)
        else:
            self.transport.close()

    def _pass_on(self, asker: Asker) -> None:
        if not self._streaming:
            self._streaming = True
            asker.begun(self._status, self._headers, self._length)
        if self._parts and self._asker is asker:
            parts, self._parts = self._parts, []
            asker.piece(b"".join(parts))

    def _lose(self) -> None:
        asker, self._asker = self._asker, None
        if not self.transport.is_closing():
            self.transport.abort()
        if asker is not None:
            asker.lost(odd=self._odd or self._heard)

    # --- httptools

    def on_message_begin(self) -> None:
        """Notice an answer nobody asked for."""
        if self._done:
            self._odd = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header (trailers are dropped)."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._odd = True
        elif not self._status:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Insist on an answer that says where it ends."""
        status = self._parser.get_status_code()
        framed = status in (204, 304)
        for name, value in self._headers:
            if len(name) == 14 and name.lower() == b"content-length":
                self._length = int(value)
                framed = True
            elif len(name) == 17 and name.lower() == b"transfer-encoding":
                framed = value.lower() == b"chunked"
        if status < 200 or not framed:
            self._odd = True
        self._status = status
        self._keep = self._parser.should_keep_alive()  # once the message is over, the parser forgets

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        self._done = True
