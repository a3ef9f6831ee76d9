"""One upstream stream per board, however many listen to it here.

The service computes a page once; this process reads it once and gives every listener the same bytes.
Whoever joins later is greeted with the last event of each kind that describes a state, so nobody
waits for the next change to see the present.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.request import Request
from gateway.wire import Headers, Wire
from shared.errors import LeaderboardError

if TYPE_CHECKING:
    from gateway.door import Door
    from gateway.service import Gateway

STATES = frozenset({b"event: top", b"event: season"})
"""Events that say how things stand: the last one of each is all a newcomer needs."""

MAX_BEHIND_BYTES = 256 * 1024
"""A listener with more than this unsent is dropped, not waited for."""

MAX_EVENT_BYTES = 1024 * 1024


class Listener:
    """A client that follows a shared stream; to its door it is an exchange like any other."""

    __slots__ = ("door", "request", "stream")

    def __init__(self, stream: SharedStream, door: Door, request: Request) -> None:
        self.stream = stream
        self.door = door
        self.request = request

    def start(self) -> None:
        """Begin to listen."""
        self.stream.join(self)

    def pause(self) -> None:
        """Nothing: others listen too. Who falls too far behind is dropped."""

    def resume(self) -> None:
        """Nothing, as above."""

    def expire(self) -> None:
        """Answer 504: the service did not begin in time."""
        self.stream.leave(self)
        self.door.refuse(
            self.request, LeaderboardError("deadline_exceeded", "the stream did not begin in time")
        )

    def cancel(self) -> None:
        """Stop listening."""
        self.stream.leave(self)


class SharedStream:
    """A stream of the service and those who listen to it."""

    def __init__(self, streams: Streams, request: Request) -> None:
        self._streams = streams
        self._request = _without_position(request)
        self._listeners: dict[Listener, None] = {}
        self._wire: Wire | None = None
        self._head: tuple[int, Headers, int | None] | None = None
        self._states: dict[bytes, bytes] = {}
        self._rest = b""
        self._retried = False
        self._is_waiting = False
        self.is_stream = True

    # --- listeners come and go

    def join(self, listener: Listener) -> None:
        """Add a listener; the first one opens the stream."""
        self._listeners[listener] = None
        if self._head is not None:
            self._greet(listener)
        elif self._wire is None and not self._is_waiting:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        try:
            self._request.upstream.wait(self)
        except LeaderboardError as error:
            self._refuse(error)

    def leave(self, listener: Listener) -> None:
        """Remove a listener; the last one closes the stream."""
        self._listeners.pop(listener, None)
        if not self._listeners:
            if self._is_waiting:
                self._is_waiting = False
                self._request.upstream.leave(self)
            self._streams.forget(self._request)
            wire, self._wire = self._wire, None
            if wire is not None:
                wire.abandon()

    def _greet(self, listener: Listener) -> None:
        assert self._head is not None
        door, request = listener.door, listener.request
        door.write(self._streams.gateway.answers.stream_head(request, *self._head))
        door.begin_stream()
        if self._states:
            door.write_piece(request, b"".join(self._states.values()))

    # --- the service answers

    def assigned(self, wire: Wire) -> None:
        """Ask for the stream."""
        self._is_waiting = False
        self._wire = wire
        wire.send(self, self._streams.gateway.render(self._request))

    def unassigned(self) -> None:
        """Tell everyone that the service cannot be reached."""
        self._refuse(LeaderboardError("upstream_unavailable", "the service cannot be reached; try again"))

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """Give everyone the answer: it was no stream."""
        for listener in self._dissolve():
            answer = self._streams.gateway.answers.whole(listener.request, status, headers, body)
            listener.door.write(answer)
            listener.door.finish(listener.request, status)

    def begun(self, status: int, headers: Headers, length: int | None) -> None:
        """Begin everyone's answer."""
        self._head = (status, headers, length)
        for listener in [*self._listeners]:
            self._greet(listener)

    def piece(self, data: bytes) -> None:
        """Give everyone the events that are complete."""
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            self.lost(odd=True)
            return
        for event in whole:
            for line in event.split(b"\n"):
                if line in STATES:
                    self._states[line] = event + b"\n\n"
        if whole:
            self._tell(b"\n\n".join([*whole, b""]))

    def _tell(self, events: bytes) -> None:
        for listener in [*self._listeners]:
            door = listener.door
            if door.transport.get_write_buffer_size() > MAX_BEHIND_BYTES:
                self.leave(listener)
                self._streams.gateway.access.cut += 1
                door.abort()
            else:
                door.write_piece(listener.request, events)

    def ended(self) -> None:
        """End everyone's answer."""
        status = self._head[0] if self._head is not None else 200
        for listener in self._dissolve():
            listener.door.end_stream(listener.request)
            listener.door.finish(listener.request, status)

    def lost(self, *, odd: bool) -> None:
        """Cut everyone off; they will come again. If nothing has begun, ask once more, or answer 502."""
        if self._head is None and not odd and not self._retried:
            self._retried, self._wire = True, None
            self._wait()
            return
        if self._head is None:
            detail = "the service's answer made no sense" if odd else "the service broke off"
            self._refuse(LeaderboardError("bad_gateway", detail))
            return
        for listener in self._dissolve():
            listener.door.abort()

    def _refuse(self, error: LeaderboardError) -> None:
        for listener in self._dissolve():
            listener.door.refuse(listener.request, error)

    def _dissolve(self) -> list[Listener]:
        self._is_waiting = False
        self._streams.forget(self._request)
        listeners, self._listeners = [*self._listeners], {}
        wire, self._wire = self._wire, None
        if wire is not None and wire.is_asked_by(self):
            wire.abandon()
        return listeners


class Streams:
    """The shared streams of this process, by what was asked for."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._open: dict[bytes, SharedStream] = {}

    def listener(self, door: Door, request: Request) -> Listener:
        """Return a listener to the stream a request asks for."""
        stream = self._open.get(request.target)
        if stream is None:
            stream = self._open[request.target] = SharedStream(self, request)
        return Listener(stream, door, request)

    def forget(self, request: Request) -> None:
        """Drop a stream that is over: the next listener opens a new one."""
        self._open.pop(request.target, None)

    def __len__(self) -> int:
        return len(self._open)


def is_shared(request: Request) -> bool:
    """Say whether a request asks for a stream that is the same for everyone."""
    return request.route.is_stream and request.method == b"GET" and b"user_id" not in request.target


def _without_position(request: Request) -> Request:
    # The first listener's `Last-Event-ID` is not the others': a shared stream begins with the present.
    asked = Request(request.started)
    asked.method, asked.target, asked.id = request.method, request.target, request.id
    asked.route, asked.upstream, asked.grant = request.route, request.upstream, request.grant
    asked.deadline = request.deadline
    return asked
