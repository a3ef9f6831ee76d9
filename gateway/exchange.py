"""One request on its way through: the connection it got, what came back, what may be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.request import Request
from gateway.wire import Headers, Wire
from shared.errors import LeaderboardError
from shared.frames import MAX_BODY

if TYPE_CHECKING:
    from gateway.door import Door
    from gateway.mux import Mux
    from gateway.service import Gateway


class Exchange:
    """Carries one request to a service and its answer back to the client's `door`.

    Everything happens in callbacks of the two connections; no task is made.
    """

    __slots__ = ("_door", "_gateway", "_number", "_request", "_retried", "_status", "_wire")

    def __init__(self, gateway: Gateway, door: Door, request: Request) -> None:
        self._gateway = gateway
        self._door = door
        self._request = request
        self._wire: Wire | Mux | None = None
        self._number = 0
        """The request's, where its connection carries many."""
        self._retried = False
        self._status = 0

    @property
    def is_stream(self) -> bool:
        """Whether the answer is expected to go on for long."""
        return self._request.route.is_stream

    def start(self) -> None:
        """Send the request: together with others where that can be, or alone."""
        request = self._request
        if self._gateway.traces is not None:
            self._gateway.traces.enter(request)
        if request.route.is_hot and request.size <= MAX_BODY and b"%" not in request.target:
            mux = request.upstream.shared()
            if mux is not None:
                self._wire = mux
                self._number = mux.send(self, self._gateway.render(request))
                return
        self._go_alone()

    def _go_alone(self) -> None:
        """Send the request on a connection of its own: the best idle one, or the next."""
        wire = None if self._request.route.is_stream else self._request.upstream.take()
        if wire is not None:
            self.assigned(wire)
        else:
            self._wait()

    def _wait(self) -> None:
        try:
            self._request.upstream.wait(self)
        except LeaderboardError as error:
            self._refuse(error)

    def assigned(self, wire: Wire) -> None:
        """Send the request on a connection that was waited for."""
        self._wire = wire
        wire.send(self, self._gateway.render(self._request))

    def unassigned(self) -> None:
        """Answer 503: no address of the service can be reached."""
        self._refuse(LeaderboardError("upstream_unavailable", "the service cannot be reached; try again"))

    # --- what the service answers

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        self._wire = None
        self._door.write_soon(self._gateway.answers.whole(self._request, status, headers, body))
        self._door.finish(self._request, status)

    def turned_away(self) -> None:
        """Ask on a connection of its own: the service did nothing."""
        self._wire = None
        self._go_alone()

    def begun(self, status: int, headers: Headers, length: int | None) -> None:
        """Send the head of an answer that comes in pieces."""
        self._status = status
        head = self._gateway.answers.stream_head(self._request, status, headers, length)
        self._door.write(head)
        if self._request.method == b"HEAD":
            self.cancel()
            self._door.finish(self._request, status)
        else:
            self._door.begin_stream()

    def piece(self, data: bytes) -> None:
        """Send a piece."""
        self._door.write_piece(self._request, data)

    def ended(self) -> None:
        """Finish an answer that came in pieces."""
        self.resume()  # the connection goes back to the pool, also when the last piece filled the client's
        self._wire = None
        self._door.end_stream(self._request)
        self._door.finish(self._request, self._status)

    def lost(self, *, odd: bool) -> None:
        """Try once more what was not sent, or a read not answered; else answer 502, or cut a half answer."""
        wire, self._wire = self._wire, None
        is_unsent = wire is not None and wire.is_unsent
        if self._status:
            self._door.abort()
        elif not self._retried and (is_unsent or (self._request.route.is_read and not odd)):
            self._retried = True
            upstream = self._request.upstream
            other = upstream.take(avoid=wire.peer if wire is not None else None)
            if other is None:
                self._wait()
            else:
                self.assigned(other)
        else:
            detail = (
                "the service's answer made no sense" if odd else "the service broke off; it may have acted"
            )
            self._refuse(LeaderboardError("bad_gateway", detail))

    # --- what the client does

    def pause(self) -> None:
        """Stop reading from the service: the client does not keep up."""
        if isinstance(self._wire, Wire):  # what carries many brings whole answers only
            self._wire.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if isinstance(self._wire, Wire):
            self._wire.transport.resume_reading()

    def expire(self) -> None:
        """Answer 504: the deadline has passed."""
        wire = self._wire
        self.cancel()
        if wire is not None:
            self._request.upstream.timed_out(wire.peer)
        self._refuse(LeaderboardError("deadline_exceeded", "the answer did not come in time"))

    def cancel(self) -> None:
        """Give up: the client went away, or the deadline passed."""
        self._request.upstream.leave(self)
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abandon(self._number)

    def _refuse(self, error: LeaderboardError) -> None:
        self._door.refuse(self._request, error)
