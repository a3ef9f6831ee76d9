"""One connection to a service for many requests at once (see shared.frames): a cheaper hop.

Many requests leave in few writes and their answers come in few: a system call and a wake-up for several.
The service takes only what it recognises; what it turns away goes on a connection of its own (see wire),
and so does everything while this one cannot be had.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from gateway.wire import Headers, usual
from shared.frames import ACCEPTED, ASK, HEAD, MAX_ANSWER, MAX_NUMBER, TOGETHER, Splitter

if TYPE_CHECKING:
    from gateway.peer import Peer


class MuxAsker(Protocol):
    """Who sent a request and is told what becomes of it, once."""

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """Take a whole answer."""

    def turned_away(self) -> None:
        """Learn that the service did nothing: the request may be made another way."""

    def lost(self, *, odd: bool) -> None:
        """Learn that there will be no answer (see wire.Asker)."""


class Mux(asyncio.Protocol):
    """A connection that carries many requests.

    `is_unsent`: whether not one byte of the request whose `asker.lost` is being called was given to the
    system.
    """

    __slots__ = (
        "_askers",
        "_first",
        "_flushed",
        "_last",
        "_live",
        "_loop",
        "_requests",
        "_retired",
        "_splitter",
        "is_open",
        "is_unsent",
        "peer",
        "transport",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.is_open = False
        self.is_unsent = False
        self._loop = asyncio.get_running_loop()
        self._askers: dict[int, MuxAsker | None] = {}
        """By number; None: abandoned, its answer is still to come."""
        self._live = 0
        """How many are not abandoned."""
        self._requests: list[bytes] = []
        self._last = self._flushed = 0
        """The number of the last request, and of the last that was given to the system."""
        self._first = b""
        self._splitter = Splitter(MAX_ANSWER)
        self._retired = False

    # --- what the pool and the askers do

    @property
    def in_flight(self) -> int:
        """Requests without an answer, abandoned ones too."""
        return len(self._askers)

    @property
    def is_spent(self) -> bool:
        """Whether every number has been used."""
        return self._last >= MAX_NUMBER

    def send(self, asker: MuxAsker, data: bytes) -> int:
        """Send a request, at the end of this turn at the latest; return its number."""
        self._last = number = self._last + 1
        self._askers[number] = asker
        self._live += 1
        self.peer.in_flight += 1
        self._put(number, data)
        return number

    def abandon(self, number: int) -> None:
        """Want the answer to a request no more."""
        if self._askers.get(number) is not None:
            self._askers[number] = None
            self._live -= 1
            self._put(number, b"")
            self._close_if_done()

    def retire(self) -> None:
        """Close once every request that is still wanted is answered."""
        self._retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._retired and not self._live:
            self.transport.abort()

    def _put(self, number: int, payload: bytes) -> None:
        if not self._requests:
            self._loop.call_soon(self._flush)
        self._requests.append(HEAD.pack(len(payload), number))
        self._requests.append(payload)
        if len(self._requests) > 2 * (len(self._askers) >> TOGETHER):
            self._flush()

    def _flush(self) -> None:
        requests, self._requests = self._requests, []
        if requests and not self.transport.is_closing():
            self._flushed = self._last
            self.transport.write(b"".join(requests))

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for frames."""
        # uvloop's transports are asyncio's by duck, not by class.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(ASK)

    def data_received(self, data: bytes) -> None:
        """Hand on answers; close at the first oddity."""
        if not self.is_open:
            data = self._first = self._first + data
            if not data.startswith(ACCEPTED):
                if not ACCEPTED.startswith(data):
                    self.transport.abort()
                return
            self.is_open = True
            data, self._first = data[len(ACCEPTED) :], b""
            self.peer.opened(self)
        try:
            frames = self._splitter.feed(data)
        except ValueError:
            self._lose(odd=True)
            return
        for number, payload in frames:
            if not self._take(number, payload):
                self._lose(odd=True)
                return
        self._close_if_done()

    def eof_received(self) -> bool:
        """Close: a service that has said all is not asked again."""
        return False

    def connection_lost(self, _: Exception | None) -> None:
        """Tell the askers and the pool."""
        self._lose(odd=False)
        self.peer.parted(self)

    def pause_writing(self) -> None:
        """Nothing: what waits to be written is bounded by the requests in flight."""

    def resume_writing(self) -> None:
        """Nothing, as above."""

    # --- answers

    def _take(self, number: int, payload: bytes) -> bool:
        """Hand on an answer; say whether it made sense."""
        if number not in self._askers:
            return False
        asker = self._askers.pop(number)
        self.peer.answered()
        if asker is None:
            return True
        self._live -= 1
        if not payload:
            asker.turned_away()
            return True
        answer = usual(payload)
        if answer is not None:
            asker.answered(*answer)
            return True
        whole = Whole.of(payload)
        if whole is None:
            asker.lost(odd=True)
            return False
        asker.answered(whole.status, whole.headers, whole.body)
        return True

    def _lose(self, *, odd: bool) -> None:
        self.transport.abort()
        askers, self._askers = self._askers, {}
        self.peer.in_flight -= len(askers)
        self._live = 0
        for number, asker in askers.items():
            if asker is not None:
                self.is_unsent = number > self._flushed
                asker.lost(odd=odd)
        self.is_unsent = False


class Whole:
    """An answer of a kind that is not recognised, parsed."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body = b""
        self._messages = 0

    @classmethod
    def of(cls, payload: bytes) -> Whole | None:
        """Parse a whole answer; None: it is none, or more than one."""
        whole = cls()
        parser = httptools.HttpResponseParser(whole)
        try:
            parser.feed_data(payload)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        whole.status = parser.get_status_code()
        return whole if whole._messages == 1 and whole.status >= 200 else None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Note the end."""
        self._messages += 1
