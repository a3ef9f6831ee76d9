"""A connection on which a gateway makes many requests at once: the service's end (see shared.frames).

It answers what `shared.direct` recognises, by the same endpoints; anything else it turns away, and the
gateway makes that request on a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from uvicorn.server import ServerState

from shared.asgi import Call, Endpoint, Reply
from shared.direct import Finds, PlainCall, Turn, recognised, render
from shared.frames import MAX_REQUEST, TOGETHER, Splitter, frame
from shared.gathering import GatheringTransport

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 4096
"""Requests answered at once for one gateway; what comes beyond is turned away."""


class FramedTurn(Turn):
    """A request that came in a frame."""

    __slots__ = ("number",)

    number: int


class Framed(asyncio.Protocol):
    """Answers frames.

    Args:
        finds: where requests lead, by method.
        state: what the lifespan yielded.
        server: knows its connections, each of which it ends by its `shutdown`.
    """

    def __init__(self, finds: Finds, state: Any, server: ServerState) -> None:
        self._finds = finds
        self._state = state
        self._server = server
        self._connections: set[Any] = server.connections
        self._loop = asyncio.get_running_loop()
        self._transport: GatheringTransport = None  # type: ignore[assignment]  # set by connection_made
        self._splitter = Splitter(MAX_REQUEST)
        self._turns: dict[int, FramedTurn] = {}
        self._is_ending = False

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection."""
        # uvloop's transports are asyncio's by duck, not by class.
        self._transport = GatheringTransport(cast("asyncio.Transport", transport), self._loop)
        self._connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Stop answering."""
        self._connections.discard(self)
        turns, self._turns = self._turns, {}
        for turn in turns.values():
            _end(turn)

    def data_received(self, data: bytes) -> None:
        """Take requests."""
        try:
            frames = self._splitter.feed(data)
        except ValueError as error:
            log.warning("a gateway's frames make no sense: %s", error)
            self._transport.abort()
            return
        for number, payload in frames:
            if payload:
                self._take(number, payload)
            else:
                self._drop(number)

    def pause_writing(self) -> None:
        """Take no more while answers are not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._transport.resume_reading()

    # --- uvicorn

    def shutdown(self) -> None:
        """Answer what was taken, then close."""
        self._is_ending = True
        self._close_if_done()

    # --- a request and its answer

    def _take(self, number: int, payload: bytes) -> None:
        found = recognised(payload, self._finds)
        is_full = len(self._turns) >= MAX_IN_FLIGHT or number in self._turns
        if found is None or found[0].endpoint.is_stream or self._is_ending or is_full:
            self._send(number, b"")
            return
        direct, lines, body = found
        self._server.total_requests += 1
        turn = FramedTurn()
        turn.number = number
        self._turns[number] = turn
        call = PlainCall(direct, self._state, lines, body)
        if direct.endpoint.short_cut is None:
            turn.task = self._loop.create_task(self._answer(direct.endpoint, call, turn))
        else:
            turn.hurry(self, direct.endpoint, call)

    def settle(self, turn: Turn, reply: Reply | None) -> None:
        """Send what a short cut found; where that is nothing go on in a task."""
        assert isinstance(turn, FramedTurn)
        if reply is None:
            turn.task = self._loop.create_task(self._answer(turn.endpoint, turn.call, turn))
        else:
            self._finish(turn, reply)

    async def _answer(self, endpoint: Endpoint, call: Call, turn: FramedTurn) -> None:
        reply = await endpoint.answer(call)
        assert isinstance(reply, Reply), "an endpoint of this kind has whole answers, and a whole body"
        self._finish(turn, reply)

    def _finish(self, turn: FramedTurn, reply: Reply) -> None:
        if self._turns.pop(turn.number, None) is not None:
            turn.response_complete = True
            self._send(turn.number, render(reply, close=False))
            self._close_if_done()

    def _drop(self, number: int) -> None:
        """Stop what is not wanted any more."""
        turn = self._turns.pop(number, None)
        if turn is not None:
            _end(turn)
            self._send(number, b"")
            self._close_if_done()

    def _send(self, number: int, payload: bytes) -> None:
        """Send an answer, with others: at the end of this turn of the loop at the latest."""
        if self._transport.is_closing():
            return
        self._transport.write(frame(number, payload))
        if self._transport.waiting > len(self._turns) >> TOGETHER:
            self._transport.flush()

    def _close_if_done(self) -> None:
        if self._is_ending and not self._turns:
            self._transport.close()  # what waits to be written is, before


def _end(turn: Turn) -> None:
    turn.disconnected = True
    if turn.task is not None:
        turn.task.cancel()
