"""One address of a service: its connections, and whether it may be asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gateway.mux import Mux
from gateway.wire import Wire

if TYPE_CHECKING:
    from gateway.upstream import Upstream

Address: TypeAlias = tuple[str, int] | str
"""A host's address and port, or the path of a Unix socket."""

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_SECONDS = 1.0
FULL_SECONDS = 0.02
"""Between two attempts to connect to a Unix socket whose backlog is full."""

SHARE_SECONDS = 5.0
"""Between two attempts to get a connection that carries many requests from an address that has none."""


class Peer:
    """One address of a service and the connections to it."""

    __slots__ = (
        "_upstream",
        "address",
        "answers",
        "connecting",
        "ejected",
        "idle",
        "in_flight",
        "leaving",
        "mux",
        "mux_after",
        "outbox",
        "rests_until",
        "retired",
        "streams",
        "timeouts",
        "wires",
    )

    def __init__(self, upstream: Upstream, address: Address) -> None:
        self._upstream = upstream
        self.address = address
        self.outbox = upstream.outbox
        self.idle: list[Wire] = []
        self.wires: set[Wire] = set()
        self.in_flight = 0
        self.streams = 0
        self.connecting = 0
        self.timeouts = self.answers = 0
        self.mux: Mux | None = None
        """The connection that carries many requests, while there is one."""
        self.mux_after = 0.0
        """When it may be asked for: not at once again where there is none to be had."""
        self.ejected = False
        self.rests_until = 0.0
        """No probe begun before brings it back once it is ejected."""
        self.leaving = False
        self.retired = False

    @property
    def is_usable(self) -> bool:
        """Whether new requests may go here."""
        return not (self.ejected or self.leaving or self.retired)

    @property
    def pooled(self) -> int:
        """Connections that count against the bound: streams have a bound of their own."""
        return len(self.wires) + self.connecting - self.streams

    async def connect(self) -> Wire:
        """Open a connection; `connecting` was counted up by the caller.

        Raises:
            OSError, TimeoutError: the address does not answer.
        """
        try:
            wire = await self._connect(lambda: Wire(self))
        finally:
            self.connecting -= 1
        self.wires.add(wire)
        return wire

    async def _connect(self, protocol: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            if not isinstance(self.address, str):
                return (await loop.create_connection(protocol, *self.address))[1]
            while True:
                try:
                    return (await loop.create_unix_connection(protocol, self.address))[1]
                except BlockingIOError:  # a full backlog is waited for, which TCP does by itself
                    await asyncio.sleep(FULL_SECONDS)

    async def share(self) -> None:
        """Ask for a connection that carries many requests; the service may not have it."""
        self.mux_after = monotonic() + SHARE_SECONDS
        with contextlib.suppress(OSError, TimeoutError):  # requests, and probes, tell how an address is
            await self._connect(lambda: Mux(self))

    def opened(self, mux: Mux) -> None:
        """Use a connection that carries many requests."""
        if self.mux is None and self.is_usable:
            self.mux = mux
        else:
            mux.retire()

    def parted(self, mux: Mux) -> None:
        """Forget it: it has ended."""
        if self.mux is mux:
            self.mux = None
            self.mux_after = 0.0  # it was to be had: it may be again at once

    def unshare(self) -> None:
        """Use it no more; it ends with the last of its requests."""
        if self.mux is not None:
            self.mux.retire()
            self.mux = None

    def answered(self) -> None:
        """Count an answer of a connection that carries many."""
        self.timeouts = 0
        self.answers += 1
        self.in_flight -= 1

    def take(self) -> Wire | None:
        """Return an idle connection, the one used last: it is the least likely to be stale."""
        while self.idle:
            wire = self.idle.pop()
            if not wire.transport.is_closing():
                self.lend(wire)
                return wire
        return None

    def lend(self, wire: Wire) -> None:
        """Count a connection as in use."""
        wire.busy = True
        self.in_flight += 1

    def free(self, wire: Wire) -> None:
        """Take back a connection whose request is answered."""
        self.timeouts = 0
        self.answers += 1
        self._returned(wire)
        if self.retired or self.leaving:
            wire.transport.close()
        elif not wire.transport.is_closing():
            self._upstream.offer(wire)

    def gone(self, wire: Wire) -> None:
        """Forget a connection that ended."""
        self.wires.discard(wire)
        self._returned(wire)
        if wire in self.idle:
            self.idle.remove(wire)
        self._upstream.grow()

    def _returned(self, wire: Wire) -> None:
        if wire.busy:
            wire.busy = False
            self.in_flight -= 1
        if wire.is_stream:
            wire.is_stream = False
            self.streams -= 1

    def retire(self) -> None:
        """Use this address no more: its name no longer resolves to it."""
        self.retired = True
        self.unshare()
        self._close_idle()

    def leave(self) -> None:
        """Send nothing more: the process there is about to stop, and waits for us to close."""
        self.leaving = True
        self.unshare()
        self._close_idle()

    def _close_idle(self) -> None:
        for wire in [*self.idle]:
            wire.transport.close()
