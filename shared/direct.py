"""Hot requests answered below ASGI: the same handlers, without a scope, a cycle, a router.

A service names its hottest paths in `direct` of its application, a function for each method. What these
do not know, and whatever is unusual about a request (a body that is large or has no declared length, a
connection to be closed, pipelining), goes the way of every request: uvicorn, ASGI, Starlette.

A request as our gateway sends it is recognised by one expression instead of parsed header by header, and
an endpoint with a short cut is answered without a task. Both only ever take the usual case: anything
else is parsed, and answered by the handler, as if the short cut had not been tried.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple, Protocol

from prometheus_client import Counter
from starlette.types import Message, Receive
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.asgi import BODILESS, UNEXPECTED, Call, Endpoint, Reply, Steps, Stream
from shared.errors import LeaderboardError
from shared.frames import ASK, MAX_BODY

log = logging.getLogger(__name__)

UNUSUAL = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade"})
"""A request with one of these headers is left to uvicorn."""


PLAIN = re.compile(
    rb"(GET|POST) (/[!-~]*) HTTP/1\.1(\r\n"
    rb"(?:(?:host|x-[a-z-]+|accept|content-type|if-none-match|traceparent|tracestate): [\t -~]*\r\n)+)"
    rb"(?:content-length: ([1-9]\d{0,4})\r\n)?\r\n"
).match
"""The head of a request as our gateway writes it: its method, target and header lines, its body's length."""

BROKEN = Counter("leaderboard_short_cuts_broken_total", "Short cuts that failed; their handlers answered.")


class Direct(NamedTuple):
    """Where a request leads: its endpoint, path parameters and query."""

    endpoint: Endpoint
    params: dict[str, str]
    query: bytes


Find = Callable[[bytes], Direct | None]
Finds = Mapping[bytes, Find]
"""By method: `GET` for requests without a body, `POST` for those with one."""


class Settler(Protocol):
    """The connection a request came on."""

    def settle(self, turn: Turn, reply: Reply | None) -> None:
        """Write what a short cut found; None: it found nothing, the handler does."""


_NOTHING: deque[Any] = deque()
"""What most connections have pipelined; one for all, as each takes 700 bytes."""


class Turn:
    """One request being answered, standing where uvicorn keeps the cycle of its own.

    So uvicorn queues what is pipelined behind it, and drains it at a shutdown.
    """

    __slots__ = (
        "_ended",
        "_steps",
        "body",
        "call",
        "disconnected",
        "endpoint",
        "keep_alive",
        "more_body",
        "protocol",
        "response_complete",
        "task",
        "wanted",
    )

    message_event = asyncio.Event()
    """Nobody waits for it."""

    def __init__(self) -> None:
        self.body = b""
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None
        self.wanted: Direct | None = None
        """Where it leads, until it is answered."""

        # On a short cut:
        self.endpoint: Endpoint = None  # type: ignore[assignment]
        self.call: Call = None  # type: ignore[assignment]
        self.protocol: Settler = None  # type: ignore[assignment]
        self._steps: Steps = None  # type: ignore[assignment]
        self._ended: asyncio.Future[None] | None = None

    # --- on a short cut, where it is what coalescers tell their results

    def hurry(self, protocol: Settler, endpoint: Endpoint, call: Call) -> None:
        """Take the short cut of an endpoint."""
        assert endpoint.short_cut is not None
        self.protocol = protocol
        self.endpoint = endpoint
        self.call = call
        self._steps = endpoint.short_cut(call)
        self.set_result(None)

    def done(self) -> bool:
        """Say whether nobody waits for the answer any more."""
        return self.disconnected

    def set_result(self, result: Any) -> None:
        """Take the next step of the short cut."""
        try:
            coalescer, item = self._steps.send(result)
            coalescer.put(item, self)
        except StopIteration as end:
            self._arrived(end.value)
        except LeaderboardError:
            self._arrived(None)
        except Exception:  # noqa: BLE001  the handler will meet it too, and tell
            BROKEN.inc()
            self._arrived(None)

    def set_exception(self, _: BaseException) -> None:
        """Leave the request to its handler: it asks once more, and knows what to do then."""
        self._arrived(None)

    def _arrived(self, reply: Reply | None) -> None:
        protocol = self.protocol
        del self.protocol, self._steps  # no circle is left behind
        protocol.settle(self, reply)

    # --- where its answer is a stream

    async def wait(self) -> Message:
        """Wait for the end of a stream, as ASGI's `receive` does."""
        if not self.response_complete:
            self._ended = asyncio.get_running_loop().create_future()
            await self._ended
        return {"type": "http.disconnect"}

    def end(self) -> None:
        """End a stream."""
        self.response_complete = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class DirectProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a shorter way for hot requests."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._finds: Finds = getattr(self.app, "direct", {})
        self.pipeline = _NOTHING
        self._between = True
        """Nothing of the next request has been given to the parser."""
        self._plain = True
        self._length = b""
        self._rested = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering."""
        turn: Any = self.cycle
        if isinstance(turn, Turn) and turn.task is not None:
            turn.task.cancel()
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Go on to what was pipelined, or wait for the next request, for a while.

        uvicorn sets a timer at every answer and cancels it at every request; here one timer a connection
        goes on, and looks how long ago the last answer was.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._rested = monotonic()
        if self._watch is None:
            self._watch = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough; look again later at any other."""
        left: float = self.timeout_keep_alive
        if self.cycle.response_complete:
            left = self._rested + self.timeout_keep_alive - monotonic()
            if left <= 0:
                super().timeout_keep_alive_handler()
                return
        self._watch = self.loop.call_later(left, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Take a request that is recognised; have any other bytes parsed."""
        if self._between and self._is_idle and not self._is_leaving:
            if data == ASK and self._is_new and self.become_framed():
                return
            if (known := recognised(data, self._finds)) is not None:
                found, lines, body = known
                turn = Turn()
                self.cycle = turn  # type: ignore[assignment]
                self._begin(turn, found, PlainCall(found, self.app_state, lines, body))
                return
        super().data_received(data)

    def become_framed(self) -> bool:
        """Let many requests come at once on this connection (see shared.frames), if that is served here."""
        return False

    @property
    def _is_idle(self) -> bool:
        """Whether a request that comes now is the only one."""
        before: Any = self.cycle
        return before is None or before.response_complete

    @property
    def _is_new(self) -> bool:
        """Whether nothing has been asked yet."""
        before: Any = self.cycle
        return before is None

    @property
    def _is_leaving(self) -> bool:
        """Whether the server is about to go (see shared.http)."""
        return getattr(self.server_state, "leaving", False)

    def on_message_begin(self) -> None:
        """Begin a request; its scope is made if it is needed."""
        self._between = False
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._plain = True
        self._length = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        name = name.lower()
        value = value.strip(b" \t")  # the parser leaves what stands behind a value (RFC 9110, 5.5)
        self.headers.append((name, value))
        if name == b"content-length":
            self._length = value
        elif name in UNUSUAL:
            self._plain = False
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        """Answer directly what can be; leave the rest to uvicorn."""
        idle = self._is_idle
        if self._plain and idle and (found := self._found()) is not None:
            turn = Turn()
            self.cycle = turn  # type: ignore[assignment]
            if self._length:
                turn.wanted = found
            else:
                self._begin(turn, found, self._call(found))
            return
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        if not idle and self.pipeline is _NOTHING:
            self.pipeline = deque()
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers = self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather a body, at most as long as was declared: the parser sees to that."""
        turn: Any = self.cycle
        if isinstance(turn, Turn) and turn.wanted is not None:
            turn.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request whose body is whole."""
        self._between = True
        turn: Any = self.cycle
        if isinstance(turn, Turn) and turn.wanted is not None:
            found, turn.wanted = turn.wanted, None
            self._begin(turn, found, self._call(found, turn.body))
        else:
            super().on_message_complete()

    def write_whole(self, answer: bytes) -> None:
        """Write an answer that has no second part to wait for."""
        self.transport.write(answer)

    def _found(self) -> Direct | None:
        """Return where this request leads, if it can be answered here."""
        method, length = self.parser.get_method(), self._length
        find = self._finds.get(method)
        # A body is what makes a POST, and what a GET of ours does not have.
        if find is None or self.parser.get_http_version() != "1.1" or (method == b"GET") == bool(length):
            return None
        if length and not (len(length) <= 5 and 0 < int(length) <= MAX_BODY):
            return None
        return find(self.url)

    def _call(self, found: Direct, body: bytes = b"") -> Call:
        method = "POST" if body else "GET"
        receive = _whole(body) if body else _no_body
        return Call(method, found.params, found.query, self.app_state, self.headers, receive)

    def _begin(self, turn: Turn, found: Direct, call: Call) -> None:
        if found.endpoint.short_cut is None:
            turn.task = self.loop.create_task(self._answer(found.endpoint, call, turn))
        else:
            turn.hurry(self, found.endpoint, call)

    def settle(self, turn: Turn, reply: Reply | None) -> None:
        """Write what a short cut found; where that is nothing, or cannot be written yet, go on in a task."""
        if reply is None:
            turn.task = self.loop.create_task(self._answer(turn.endpoint, turn.call, turn))
        elif self.flow.write_paused:
            turn.task = self.loop.create_task(self._write(turn, reply))
        else:
            self._finish(turn, reply)

    async def _answer(self, endpoint: Endpoint, call: Call, turn: Turn) -> None:
        reply = await endpoint.answer(call)
        if isinstance(reply, Stream):
            # Ten thousand streams would each hold what their request was made of.
            self.url, self.headers = b"", []
            run, head = reply.run, render_head(reply)
            del call, endpoint, reply
            self.write_whole(head)
            try:
                await run(turn.wait, self._send)
            except Exception:  # the outermost frame of a stream: counted, logged, cut off
                UNEXPECTED.inc()
                log.exception("a stream broke off")
            if not turn.response_complete:  # cut off: its reader was too slow
                self.transport.abort()
            return
        await self._write(turn, reply)

    async def _write(self, turn: Turn, reply: Reply | None) -> None:
        if self.flow.write_paused:
            await self.flow.drain()
        self._finish(turn, reply)

    def _finish(self, turn: Turn, reply: Reply | None) -> None:
        turn.response_complete = True
        if reply is not None and not self.transport.is_closing():
            self.write_whole(render(reply, close=not turn.keep_alive))
            self._over(turn)

    async def _send(self, message: Message) -> None:
        """Send a piece of a stream."""
        if self.flow.write_paused:
            await self.flow.drain()
        data = message["body"]
        if data:
            self.write_whole(b"%x\r\n%b\r\n" % (len(data), data))
        if not message.get("more_body", False):
            self.write_whole(b"0\r\n\r\n")
            turn: Any = self.cycle
            turn.end()
            self._over(turn)

    def _over(self, turn: Turn) -> None:
        if not turn.keep_alive:
            self.transport.close()
        self.on_response_complete()


def recognised(data: bytes, finds: Finds) -> tuple[Direct, bytes, bytes] | None:
    """Return where a request leads, its header lines and its body; None: it is not one of the usual kind."""
    seen = PLAIN(data)
    if seen is None:
        return None
    method, target, lines, length = seen.groups()
    body = data[seen.end() :]
    find = finds.get(method)
    # One whole request: a body is what makes a POST, and what a GET of ours does not have.
    if find is None or len(body) != int(length or 0) or (method == b"POST") != bool(body):
        return None
    found = find(target)
    return None if found is None else (found, lines, body)


class PlainCall(Call):
    """A call that was recognised: its header lines are searched when one is asked for."""

    __slots__ = ("_lines",)

    def __init__(self, found: Direct, state: Any, lines: bytes, body: bytes = b"") -> None:
        self.method = "POST" if body else "GET"
        self.params = found.params
        self.query_string = found.query
        self.state = state
        self._lines = lines
        self._receive = _whole(body) if body else _no_body
        self._began = monotonic()

    def header(self, name: bytes) -> bytes | None:
        """Return one header (lower-case name): the last of that name, as everywhere."""
        _, found, rest = self._lines.rpartition(b"\r\n%b: " % name)
        return rest.partition(b"\r\n")[0].strip(b" \t") if found else None


def render_head(stream: Stream) -> bytes:
    """Render the head of an answer without an end."""
    lines = [b"%b: %b\r\n" % header for header in stream.headers]
    return b"".join([STATUS_LINE[200], *lines, b"transfer-encoding: chunked\r\n\r\n"])


def render(reply: Reply, *, close: bool) -> bytes:
    """Render a whole answer."""
    if reply.headers is _USUAL and not close:
        return _USUAL_HEAD % (STATUS_LINE[reply.status], len(reply.body), reply.body)
    lines = [STATUS_LINE[reply.status]]
    lines += [b"%b: %b\r\n" % header for header in reply.headers]
    if reply.status not in BODILESS:
        lines.append(b"content-length: %d\r\n" % len(reply.body))
    lines.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    lines.append(reply.body)
    return b"".join(lines)


_USUAL = Reply(200, b"").headers
_USUAL_HEAD = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


def _whole(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    return receive


async def _no_body() -> Message:
    return {"type": "http.request", "body": b""}
