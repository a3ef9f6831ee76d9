"""How a service is reached: its addresses, their connections, and whose turn it is.

Requests go to the address with the fewest in flight. An address that cannot be connected to, or that hangs,
is ejected and probed until it answers again. One that says that it is about to go gets no new requests;
when there is no other, requests wait a while for its successor. While no address is left otherwise,
they are refused at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Protocol
from urllib.parse import urlsplit

from gateway.mux import Mux
from gateway.outbox import Outbox
from gateway.peer import Address, Peer
from gateway.wire import Wire
from shared.errors import LeaderboardError

log = logging.getLogger(__name__)

Lookup = Callable[[], Awaitable[list[Address]]]

PROBE_SECONDS = 1.0
LEAVING = b"HTTP/1.1 503 "
IDLE_SECONDS = 30.0
"""An idle connection is closed well before the service would close it (75 s): a race less."""

PROBE = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"

MAX_TIMEOUTS = 5
"""Deadlines missed in a row by which an address counts as hung."""

HUNG_SECONDS = 1.0
"""How long a hung address is left alone at least: its health may be answered although requests are not."""


class Waiting(Protocol):
    """A request in the queue for a connection; one that goes away leaves it (`Upstream.leave`)."""

    @property
    def is_stream(self) -> bool:
        """Whether the answer is expected to go on for long."""

    def assigned(self, wire: Wire) -> None:
        """Take a connection; it is this request's alone until its answer is complete."""

    def unassigned(self) -> None:
        """Learn that no address of the service can be reached."""


class Upstream:
    """A service behind a name.

    Args:
        name: what logs and metrics call it.
        url: `http://host:port` or `unix:/path`; several with commas between.
        connections: most connections to one address.
        waiting: most requests waiting for a connection.
        streams: most streams to the whole service.
        shared: most requests at once on one connection to each address, beside the others; 0: none.
        patience: seconds that requests wait for a successor when every address is leaving.
        lookup: finds the addresses; by default the system's resolver does.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        connections: int,
        waiting: int,
        streams: int,
        shared: int = 0,
        patience: float = 0.0,
        lookup: Lookup | None = None,
    ) -> None:
        self.name = name
        self._lookup = lookup or self._ask_system
        self.peers: list[Peer] = []
        self._turn = 0
        parts = [urlsplit(each) for each in url.split(",")]
        self._places = [
            each.path if each.scheme == "unix" else (each.hostname or "", each.port or 80) for each in parts
        ]
        self.host_line = b"host: %b\r\n" % (parts[0].netloc.encode() or b"localhost")
        self._max_connections = connections
        self._max_waiting = waiting
        self._max_streams = streams
        self._max_shared = shared
        self._patience = patience
        self._expected_until = 0.0
        """Until when successors of processes that left are waited for."""
        self._waiting: OrderedDict[Waiting, None] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self.outbox = Outbox()

    # --- whose turn it is

    def take(self, avoid: Peer | None = None) -> Wire | None:
        """Return an idle connection to the address with the fewest requests in flight, or None."""
        self._turn += 1  # each search starts with another address: among equals, everyone gets a turn
        peer = self._least(avoid)
        return peer.take() if peer is not None else None

    def shared(self) -> Mux | None:
        """Return the connection to the least busy address that carries many requests, if there is one."""
        self._turn += 1
        peer = self._least()
        if peer is None or (mux := peer.mux) is None or mux.in_flight >= self._max_shared or mux.is_spent:
            return None
        return mux

    def wait(self, waiter: Waiting) -> None:
        """Queue a request; `waiter` is called back, perhaps at once.

        Raises:
            LeaderboardError: 503, too many wait already.
        """
        if self.is_away and not self._is_expecting:
            waiter.unassigned()
            return
        streams = sum(peer.streams for peer in self.peers) if waiter.is_stream else 0
        if len(self._waiting) >= self._max_waiting or streams >= self._max_streams:
            raise LeaderboardError("overloaded", "too many requests are waiting; try again")
        self._waiting[waiter] = None
        self.grow()

    def leave(self, waiter: Waiting) -> None:
        """Take a request out of the queue: it makes room for another."""
        self._waiting.pop(waiter, None)

    def offer(self, wire: Wire) -> None:
        """Give a free connection to whoever waits longest, or keep it."""
        if self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            wire.peer.lend(wire)
            if waiter.is_stream:
                wire.is_stream = True
                wire.peer.streams += 1
            waiter.assigned(wire)
            return
        wire.idle_since = monotonic()  # the loop's clock, without the system call of get_running_loop()
        wire.peer.idle.append(wire)

    def grow(self) -> None:
        """Open as many connections as requests wait for and bounds allow."""
        missing = len(self._waiting) - sum(peer.connecting for peer in self.peers if peer.is_usable)
        while missing > 0:
            missing -= 1
            peer = self._least(room=self._max_connections)
            if peer is None:
                return
            if (wire := peer.take()) is not None:
                peer.in_flight -= 1  # `offer` lends it anew
                wire.busy = False
                self.offer(wire)
                continue
            peer.connecting += 1  # before the task runs: whoever comes next must not count it as missing
            self._do(self._connect(peer))

    def _least(self, avoid: Peer | None = None, room: int = 0) -> Peer | None:
        best, number = None, len(self.peers)
        for n in range(number):
            peer = self.peers[(self._turn + n) % number]
            if not peer.is_usable or peer is avoid or (room and peer.pooled >= room and not peer.idle):
                continue
            if best is None or peer.in_flight + peer.connecting < best.in_flight + best.connecting:
                best = peer
        return best

    async def _connect(self, peer: Peer) -> None:
        answers = peer.answers
        try:
            wire = await peer.connect()
        except TimeoutError:
            # A full backlog of a service that goes on answering is load, not death.
            if peer.answers == answers:
                self.eject(peer, "no connection in time")
            self.grow()
        except OSError as error:
            self.eject(peer, repr(error))
        else:
            if peer.is_usable:
                self.offer(wire)
            else:
                wire.transport.close()

    # --- who is well

    @property
    def is_away(self) -> bool:
        """Whether no address can be reached."""
        return self._least() is None

    def timed_out(self, peer: Peer) -> None:
        """Note a missed deadline; several in a row and the address counts as hung."""
        peer.timeouts += 1
        if peer.timeouts >= MAX_TIMEOUTS:
            self.eject(peer, "no answers", rest=HUNG_SECONDS)

    def eject(self, peer: Peer, reason: str, *, rest: float = 0.0) -> None:
        """Send nothing more to an address until a probe that begins after a rest finds it well."""
        if not peer.ejected:
            peer.ejected = True
            peer.rests_until = monotonic() + rest
            peer.unshare()
            log.warning("ejected", extra={"upstream": self.name, "address": peer.address, "reason": reason})
        self._carry_on()

    def _carry_on(self) -> None:
        """Go on with who is left; when nobody is and nobody is expected, tell those who wait."""
        if self.is_away and not self._is_expecting:
            while self._waiting:
                waiter, _ = self._waiting.popitem(last=False)
                waiter.unassigned()
        else:
            self.grow()

    @property
    def _is_expecting(self) -> bool:
        return asyncio.get_running_loop().time() < self._expected_until

    async def probe(self) -> None:
        """Ask every address how it is: whether it can be used again, or is about to go."""
        peers, began = [*self.peers], monotonic()
        for peer, line in zip(peers, await asyncio.gather(*map(self._health, peers)), strict=True):
            if line.startswith(b"HTTP/1.1 200 "):
                if began >= peer.rests_until:
                    self._is_back(peer)
            elif line.startswith(LEAVING) and not peer.leaving:
                peer.leave()
                self._expected_until = asyncio.get_running_loop().time() + self._patience
                log.warning("leaving", extra={"upstream": self.name, "address": peer.address})
        if self.is_away and self._is_expecting:
            # A successor may have another address; it is looked for more often than names change.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self.resolve()
        self._share()
        self._carry_on()

    def _share(self) -> None:
        """Open connections that carry many requests where there is none."""
        now = monotonic()
        for peer in self.peers if self._max_shared else []:
            if peer.mux is not None and peer.mux.is_spent:
                peer.unshare()
            if peer.mux is None and peer.is_usable and peer.mux_after <= now:
                self._do(peer.share())

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_back(self, peer: Peer) -> None:
        if peer.ejected or peer.leaving:
            peer.ejected = peer.leaving = False
            peer.timeouts = 0
            log.warning("back", extra={"upstream": self.name, "address": peer.address})

    async def _health(self, peer: Peer) -> bytes:
        """Return the first line an address answers a probe with; nothing when it does not."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if isinstance(peer.address, str):
                    reader, writer = await asyncio.open_unix_connection(peer.address)
                else:
                    reader, writer = await asyncio.open_connection(*peer.address)
                try:
                    writer.write(PROBE)
                    return await reader.readline()
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, ValueError):
            return b""

    # --- which addresses there are

    async def resolve(self) -> None:
        """Look the name up again: new addresses are used, vanished ones are not.

        Raises:
            OSError: the name does not resolve; the addresses known so far stay.
        """
        found = await self._lookup()
        for peer in self.peers:
            if peer.address not in found:
                peer.retire()
        known = {peer.address: peer for peer in self.peers}
        self.peers = [known.get(address) or Peer(self, address) for address in found]
        self.grow()

    async def _ask_system(self) -> list[Address]:
        asked = await asyncio.gather(*map(_addresses, self._places))
        return list(dict.fromkeys(address for found in asked for address in found))

    async def trim(self) -> None:
        """Close connections that were idle for long."""
        oldest = monotonic() - IDLE_SECONDS
        for peer in self.peers:
            for wire in [wire for wire in peer.idle if wire.idle_since < oldest]:
                wire.transport.close()

    async def close(self) -> None:
        """Close every connection."""
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            for wire in [*peer.wires]:
                wire.transport.abort()
            if peer.mux is not None:
                peer.mux.transport.abort()


async def _addresses(place: Address) -> list[Address]:
    """Return the addresses of a host and port; a path is one."""
    if isinstance(place, str):
        return [place]
    infos = await asyncio.get_running_loop().getaddrinfo(*place, type=socket.SOCK_STREAM)
    return [(str(info[4][0]), int(info[4][1])) for info in infos]
