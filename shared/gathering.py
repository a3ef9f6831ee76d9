"""Writes that leave together."""

from __future__ import annotations

import asyncio
from typing import Any


class GatheringTransport:
    """A transport whose writes of one turn of the loop leave together."""

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def waiting(self) -> int:
        """How many writes wait for the end of this turn."""
        return len(self._parts)

    def write(self, data: bytes) -> None:
        """Write at the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def write_now(self, data: bytes) -> None:
        """Write, behind what is waiting to be written."""
        self.flush()
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Say whether the connection is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close once everything is written."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Write what waits to be written, if the connection still is."""
        if self._parts:
            parts, self._parts = self._parts, []
            if not self._transport.is_closing():
                self._transport.write(b"".join(parts))
