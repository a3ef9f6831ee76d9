"""Three masters of a Redis Cluster on loopback, each a process that can be killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from subprocess import Popen
from typing import Any

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from deploy.embedded import Valkey, free_ports
from deploy.processes import await_ready, spawn, stop
from tests.servers import scratch_folder
from tests.support import wait_until

COUNT = 3


class Master:
    """One node."""

    def __init__(self, folder: Path, port: int, bus: int, password: str) -> None:
        settings = (
            "cluster-enabled yes",
            f"cluster-port {bus}",
            "cluster-node-timeout 1000",
            "cluster-require-full-coverage no",
        )
        self.port, self.bus = port, bus
        self._server = Valkey(folder, port, password, folder / "valkey.log", settings)
        self._process: Popen[bytes] | None = None
        self.client = Redis.from_url(self._server.url(), decode_responses=True)

    def start(self) -> None:
        """Start the process; a node started again finds its cluster, and none of its keys."""
        program = self._server.program()
        self._process = spawn(program)
        await_ready(self._process, program, self._server.is_ready)

    def kill(self) -> None:
        """Kill the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop the process, should it run."""
        self.client.close()
        if self._process is not None:
            stop(self._process, self._server.program())

    def run(self, *command: Any) -> Any:
        """Run a command on this very node."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    @property
    def node_id(self) -> str:
        """What the cluster calls it."""
        return str(self.run("CLUSTER MYID"))

    def calls(self, command: str) -> int:
        """Return how often it has run a command."""
        stats: Any = self.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


class Masters:
    """The cluster."""

    def __init__(self, nodes: list[Master], password: str) -> None:
        self.nodes = nodes
        # One node is not named: it must be found.
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes[:-1])
        self.url = f"redis+cluster://default:{password}@{hosts}"

    async def whole(self) -> None:
        """Wait until every node says that all is well."""
        await wait_until(lambda: all(self._is_well(node) for node in self.nodes), timeout=15)

    def _is_well(self, node: Master) -> bool:
        info = node.run("CLUSTER INFO")
        return bool(
            info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(REDIS_CLUSTER_HASH_SLOTS)
        )

    def owner(self, key: str) -> Master:
        """Return the node that has a key's slot."""
        slot = key_slot(key.encode())
        for first, last, (_, port, *_), *_ in self.nodes[0].run("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(key)

    def empty(self) -> None:
        """Empty every node, of scripts and counts too."""
        for node in self.nodes:
            for command in ("FLUSHALL", "SCRIPT FLUSH", "CONFIG RESETSTAT"):
                node.run(*command.split())

    def move(self, key: str) -> Iterator[str]:
        """Move a key's slot to the next node, a step at a time; yield what was done."""
        slot, source = key_slot(key.encode()), self.owner(key)
        target = self.nodes[(self.nodes.index(source) + 1) % COUNT]
        password = source.client.connection_pool.connection_kwargs["password"]
        target.run("CLUSTER SETSLOT", slot, "IMPORTING", source.node_id)
        source.run("CLUSTER SETSLOT", slot, "MIGRATING", target.node_id)
        yield "began"
        for each in source.run("CLUSTER GETKEYSINSLOT", slot, 100):
            source.run("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", password, "KEYS", each)
            yield f"moved {each}"
        for node in (target, source, *self.nodes):
            node.run("CLUSTER SETSLOT", slot, "NODE", target.node_id)
        yield "done"


@contextmanager
def masters() -> Iterator[Masters]:
    """Run the cluster while the block lasts."""
    password, ports = token_hex(8), free_ports(2 * COUNT)
    with scratch_folder() as folder:
        nodes = [Master(folder / str(i), ports[i], ports[COUNT + i], password) for i in range(COUNT)]
        try:
            for i, node in enumerate(nodes):
                node.start()
                first, after = (REDIS_CLUSTER_HASH_SLOTS * n // COUNT for n in (i, i + 1))
                node.run("CLUSTER ADDSLOTSRANGE", first, after - 1)
                node.run("CLUSTER SET-CONFIG-EPOCH", i + 1)
            for node in nodes[1:]:
                nodes[0].run("CLUSTER MEET", "127.0.0.1", node.port, node.bus)
            cluster = Masters(nodes, password)
            asyncio.run(cluster.whole())
            yield cluster
        finally:
            for node in nodes:
                node.stop()
