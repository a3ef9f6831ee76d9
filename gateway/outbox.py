"""Writes of one turn of the event loop, made together at its end.

A write to a socket wakes whoever reads it. Made one by one between other work, each wakes a sleeper;
made together, the first wakes it and the others find it awake, with more to read at once. Measured:
a fifth less CPU a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Outbox:
    """What is to be written at the end of this turn, in order.

    `turn` counts the turns that ended with writes: what was put in during this one has not been sent.
    """

    __slots__ = ("_loop", "_writes", "turn")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writes: list[tuple[asyncio.Transport, bytes, Callable[[], None] | None]] = []
        self.turn = 0

    def put(
        self, transport: asyncio.Transport, data: bytes, unsent: Callable[[], None] | None = None
    ) -> None:
        """Write at the end of this turn; call `unsent` instead if the connection has ended by then."""
        if not self._writes:
            self._loop.call_soon(self.flush)
        self._writes.append((transport, data, unsent))

    def flush(self) -> None:
        """Write now: before anything else is written to, or a close of, one of these connections."""
        if self._writes:
            self.turn += 1
            writes, self._writes = self._writes, []
            for transport, data, unsent in writes:
                if not transport.is_closing():
                    transport.write(data)
                elif unsent is not None:
                    unsent()
