"""Processes as one deploys them: several of each service, replaced one by one, several gateways in front."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx

from deploy.client import serves
from deploy.embedded import free_ports
from deploy.processes import Program, spawn, stop, tail
from shared.keys import SigningKey, write_jwks
from shared.supervise import repeated
from tests.support import NO_TLS, wait_until

PORTS = {"score_service": "SCORE_PORT", "rank_service": "RANK_PORT", "gateway": "GATEWAY_PORT"}


class Replica:
    """One process of a service: it can be stopped, and started again where it was.

    Args:
        name: the service.
        folder: where its log goes.
        tree: whose code it runs; None: ours.
        environ: its settings.
    """

    def __init__(self, name: str, folder: Path, tree: Path | None = None, **environ: str) -> None:
        self.port, health = free_ports(2)
        self._health = health if name == "gateway" else self.port
        settings = {PORTS[name]: str(self.port), "GATEWAY_INTERNAL_PORT": str(health), **environ}
        if tree is not None:
            settings["PYTHONPATH"] = str(tree)
        # -P: not from the present folder, so that PYTHONPATH decides.
        command = (sys.executable, "-P", "-m", name) if tree is not None else (sys.executable, "-m", name)
        log = folder / f"{name}-{self.port}.log"
        self.program = Program(name, command, log, environ={**os.environ, **settings}, grace=30)
        self._process: subprocess.Popen[bytes] | None = None

    def sets(self, environ: dict[str, str]) -> None:
        """Set more of its environment, from the next start on."""
        self.program = replace(self.program, environ={**(self.program.environ or {}), **environ})

    def upgrade(self) -> None:
        """Run our code from the next start on."""
        environ = {
            name: value for name, value in (self.program.environ or {}).items() if name != "PYTHONPATH"
        }
        command = (sys.executable, "-m", self.program.name)
        self.program = replace(self.program, command=command, environ=environ)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that runs now."""
        assert self._process is not None
        return self._process

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = process = spawn(self.program)

        async def ready() -> bool:
            assert process.poll() is None, tail(self.program.log)
            return await self.is_ready()

        await wait_until(ready, timeout=30)

    async def is_ready(self) -> bool:
        """Say whether it wants requests."""
        return await serves(self._health)

    def ask_to_end(self) -> None:
        """Ask it to stop, if it runs."""
        if self._process is not None:
            self._process.terminate()

    async def end(self) -> None:
        """Ask it to stop and wait until it has."""
        self.ask_to_end()
        await wait_until(lambda: self.process.poll() is not None, timeout=30)

    async def replace(self) -> None:
        """Stop it, start another in its place."""
        await self.end()
        await self.start()

    @property
    def memory(self) -> int:
        """Bytes of memory it holds."""
        (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(kilobytes) * 1024

    @contextmanager
    def stopped_at_last(self) -> Iterator[None]:
        """Leave no process behind."""
        try:
            yield
        finally:
            if self._process is not None:
                stop(self._process, self.program)


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    """Run processes for the length of the block."""
    async with AsyncExitStack() as stack:
        for replica in replicas:
            stack.enter_context(replica.stopped_at_last())
        try:
            await asyncio.gather(*(replica.start() for replica in replicas))
            yield
        finally:
            for replica in replicas:
                replica.ask_to_end()  # all of them before the first is waited for


class Balancer(httpx.AsyncBaseTransport):
    """What stands before gateways: gives each that is ready its turn, and looks often who is.

    A request may say whose turn it is (`turn` of its extensions).
    """

    def __init__(self, gateways: list[Replica]) -> None:
        self._ways = [(gateway, httpx.AsyncHTTPTransport(verify=NO_TLS)) for gateway in gateways]
        self._ready = set(gateways)
        self._turn = count()

    async def look(self) -> None:
        """Ask every gateway whether it is ready."""
        for gateway, _ in self._ways:
            (self._ready.add if await gateway.is_ready() else self._ready.discard)(gateway)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the gateway whose turn it is; where it is refused a connection, to another."""
        ways = [way for way in self._ways if way[0] in self._ready] or self._ways
        turn: int = request.extensions.get("turn", next(self._turn))
        for n in range(len(ways)):
            gateway, transport = ways[(turn + n) % len(ways)]
            request.url = request.url.copy_with(host="127.0.0.1", port=gateway.port)
            try:
                return await transport.handle_async_request(request)
            except httpx.ConnectError:
                if n + 1 == len(ways):
                    raise
        raise AssertionError("there is no gateway")

    async def aclose(self) -> None:
        """Close every connection."""
        for _, transport in self._ways:
            await transport.aclose()


class Fleet:
    """Some processes of each kind on one database and one Redis, and a client in front of the gateways.

    Args:
        folder: where their logs go.
        tree: whose code the services run; None: ours.
        each: how many of each kind.
        settings: what all of them are told.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        redis_url: str,
        tree: Path | None = None,
        *,
        each: int = 2,
        **settings: str,
    ) -> None:
        self.values = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        signer = SigningKey.generate()
        write_jwks(folder / "jwks.json", [signer.public])
        self.score, self.rank = (
            [Replica(name, folder, tree, **{**self.values, **settings}) for _ in range(each)]
            for name in ("score_service", "rank_service")
        )
        where = {
            "SCORE_URL": ",".join(each.url for each in self.score),
            "RANK_URL": ",".join(each.url for each in self.rank),
            "JWKS_FILE": str(folder / "jwks.json"),
        }
        self.gateways = [Replica("gateway", folder, None, **{**settings, **where}) for _ in range(each)]
        self.key = signer.mint("admin", key_id="fleet", unlimited=True)

    @property
    def replicas(self) -> list[Replica]:
        """All processes."""
        return [*self.score, *self.rank, *self.gateways]

    @asynccontextmanager
    async def client(self, timeout: float = 20) -> AsyncIterator[httpx.AsyncClient]:
        """Make a client with the admin key, behind a balancer."""
        headers = {"authorization": f"Bearer {self.key}"}
        balancer = Balancer(self.gateways)
        async with (
            repeated("look at gateways", balancer.look, every=0.25),
            httpx.AsyncClient(
                base_url="http://leaderboard", headers=headers, transport=balancer, timeout=timeout
            ) as client,
        ):
            yield client
