"""The nodes of a Redis Cluster, a wire to each; one server is a cluster of one.

What concerns a key goes to the node that has its slot. The map of the slots is asked of any node, and
again whenever one answers MOVED or does not answer at all. Each node's identity belongs to its own
wire, so a copy of the index is trusted only on the very node that it was made on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from shared.errors import StoreUnavailable
from shared.wire import Command, Line, Wire, key_of

log = logging.getLogger(__name__)

LOOK_AGAIN = 0.1
"""Seconds between two looks at the map, at least."""

HOPS = 2
"""Times a command is sent on to where a node says its slot is."""

SUFFIX = "+cluster"

Address = tuple[str, int]


def open_line(url: str, *, timeout: float) -> Line:
    """Return the way to a server, or to a cluster for `redis+cluster://host:port,host:port`.

    Args:
        url: may carry a user and password; `rediss`, with TLS, is understood as well.
        timeout: seconds a connect or a round trip may take.
    """
    if urlsplit(url).scheme.endswith(SUFFIX):
        return Cluster(url, timeout=timeout)
    return Wire(url, timeout=timeout)


class Cluster:
    """A `Line` to the nodes of a cluster.

    Args:
        url: names some of its nodes; the others are found.
        timeout: seconds a connect or a round trip may take.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        given = urlsplit(url)
        login, at, hosts = given.netloc.rpartition("@")
        self._before = f"{given.scheme.removesuffix(SUFFIX)}://{login}{at}"
        self._after = f"?{given.query}" if given.query else ""
        self._seeds = [_address(host) for host in hosts.split(",")]
        self._timeout = timeout
        self._wires: dict[Address, Wire] = {}
        self._owners: list[Address | None] = []
        self._stale = True
        self._looked = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def connect(self) -> str:
        """Make sure that some node answers."""
        await self._know()
        return await self._wires[await self._any()].connect()

    async def owner(self, key: str) -> Address:
        """Return the node that has a key's slot, as far as is known.

        Raises:
            StoreUnavailable: no node can be asked, or none has the slot.
        """
        if self._stale:
            await self._know()
        return self._owner(key)

    def known_owner(self, key: str | None) -> Address | None:
        """Return the node that has a key's slot, should that be known."""
        return self._owners[key_slot(key.encode())] if key is not None and self._owners else None

    async def send(self, commands: Sequence[Command], database: str = "") -> list[Any]:
        """Run commands, each where its key is, at once; those without a key after them. See `Line`."""
        replies: dict[int, Any] = {}
        groups: dict[Address, dict[int, Command]] = {}
        anywhere: dict[int, Command] = {}
        if self._stale:
            await self._know()
        for i, command in enumerate(commands):
            key = key_of(command)
            if key is None:
                anywhere[i] = command
            else:
                groups.setdefault(self._owner(key), {})[i] = command
        await self._ask(groups, database, replies)
        for _ in range(HOPS):
            if not (sent_on := self._sent_on(commands, replies)):
                break
            await self._ask(sent_on, database, replies)
        if any(isinstance(reply, AskError | ClusterDownError) for reply in replies.values()):
            self._stale = True
        if anywhere:
            await self._ask({await self._any(): anywhere}, database, replies)
        return [replies[i] for i in range(len(commands))]

    async def at(self, key: str) -> Wire:
        """Return the wire to the node that has a key's slot."""
        return self._wire(await self.owner(key))

    async def urls(self) -> list[str]:
        """Return the URLs of the nodes: what is published on one is heard on all."""
        nodes = dict.fromkeys([await self._any(), *filter(None, self._owners)])
        return [self._url(address) for address in nodes]

    async def close(self) -> None:
        """Close the connections to all nodes."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for wire in self._wires.values():
            await wire.close()

    def _owner(self, key: str) -> Address:
        found = self._owners[key_slot(key.encode())]
        if found is None:
            raise StoreUnavailable("no node of the redis cluster has this slot")
        return found

    async def _ask(
        self, groups: Mapping[Address, Mapping[int, Command]], database: str, replies: dict[int, Any]
    ) -> None:
        """Send each node its commands and note the replies; an `ASKING` has none of its own."""
        found = await asyncio.gather(
            *(self._wire(at).send(list(group.values()), database) for at, group in groups.items()),
            return_exceptions=True,
        )
        for (address, group), answers in zip(groups.items(), found, strict=True):
            if isinstance(answers, BaseException):
                self._stale = True
                raise answers
            for i, reply in zip(group, answers, strict=True):
                if isinstance(reply, AskError):
                    reply.host = reply.host or address[0]  # an empty one: the same as the answering node's
                replies[i] = reply

    def _sent_on(
        self, commands: Sequence[Command], replies: Mapping[int, Any]
    ) -> dict[Address, dict[int, Command]]:
        """Return the commands that are to be sent to another node, by that node."""
        groups: dict[Address, dict[int, Command]] = {}
        for i, reply in replies.items():
            if i < 0 or not isinstance(reply, AskError):
                continue
            address = (reply.host, reply.port)
            group = groups.setdefault(address, {})
            if isinstance(reply, MovedError):
                self._owners[reply.slot_id] = address
                self._stale = True  # where one slot has gone others may have
            else:
                group[-1 - i] = ("ASKING",)
            group[i] = commands[i]
        return groups

    async def _any(self) -> Address:
        """Return a node that answers; one we are connected to if there is one."""
        await self._know()
        for address in self._candidates():
            try:
                await self._wire(address).connect()
            except StoreUnavailable:
                continue
            return address
        raise StoreUnavailable("no node of the redis cluster can be reached")

    async def _know(self) -> None:
        """Have the map of slots as it is now, or as it was lately if it was looked at just now."""
        if self._owners and (not self._stale or self._now() < self._looked + LOOK_AGAIN):
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="look at the cluster's slots")
            self._looking.add_done_callback(self._done)
        await asyncio.shield(self._looking)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # whoever waits has it as well

    async def _look(self) -> None:
        self._looked = self._now()
        doubtful: tuple[Address, list[Any]] | None = None
        for address in self._candidates():
            try:
                slots, info = await self._wire(address).send([("CLUSTER", "SLOTS"), ("CLUSTER", "INFO")])
            except StoreUnavailable:
                continue
            if not isinstance(slots, list):
                raise StoreUnavailable(f"redis is no cluster: {slots}")
            if b"cluster_state:ok" in bytes(info):
                await self._learn(address, slots)
                self._stale = False
                return
            doubtful = address, slots
        if doubtful is not None:  # all say the cluster is down: what they know is better than nothing
            await self._learn(*doubtful)
        elif not self._owners:
            raise StoreUnavailable("no node of the redis cluster can be reached")

    async def _learn(self, asked: Address, slots: list[Any]) -> None:
        owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in slots:
            address = (host.decode() if host and host != b"?" else asked[0], port)
            owners[first : last + 1] = [address] * (last + 1 - first)
        if owners == self._owners:
            return
        self._owners = owners
        nodes = {address for address in owners if address is not None}
        log.info("the redis cluster has %d nodes with slots", len(nodes))
        for address in self._wires.keys() - nodes - {asked}:
            await self._wires.pop(address).close()

    def _candidates(self) -> list[Address]:
        """Every node known, those connected to first: one that went away is asked last."""
        known = dict.fromkeys([*self._wires, *filter(None, dict.fromkeys(self._owners)), *self._seeds])
        return sorted(known, key=lambda address: not self._wire(address).identity)

    def _wire(self, address: Address) -> Wire:
        wire = self._wires.get(address)
        if wire is None:
            wire = self._wires[address] = Wire(self._url(address), timeout=self._timeout)
        return wire

    def _url(self, address: Address) -> str:
        host, port = address
        return f"{self._before}{f'[{host}]' if ':' in host else host}:{port}{self._after}"

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "6379")
    return host.strip("[]"), int(port)
