"""The services as real processes, with a wire that can be cut on every way between them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.client import answers, serves
from deploy.embedded import free_ports
from deploy.processes import Program, spawn, stop
from shared.keys import SigningKey, write_jwks
from tests.faults.season import Season
from tests.proxy import Wire, wire
from tests.support import NO_TLS, emptied, wait_until

PAIRS = (
    "client-gateway",
    "gateway-score",
    "gateway-rank",
    "score-postgres",
    "score-redis",
    "rank-postgres",
    "rank-redis",
)
DEADLINE = 4.0
"""Seconds in which the gateway answers everything, with a 504 if need be."""

HANGS = DEADLINE + 6.0
"""Seconds after which a client takes it that no answer will come: far past the deadline, so that a busy
machine is not taken for a hung one."""

SETTINGS = {
    "REQUEST_DEADLINE_MS": f"{DEADLINE * 1000:.0f}",
    "ACCESS_LOG": "errors",
    "DRAIN_SECONDS": "3",
    "SCORE_ANSWER_MS": "2000",
    "SCORE_RETRY_MS": "2000",
    "STATEMENT_TIMEOUT_MS": "2000",
}


@dataclass(frozen=True)
class Stores:
    """Where each service finds Postgres and Redis; `values` is how to get there past all wires."""

    values: dict[str, str]
    score: Mapping[str, str]
    rank: Mapping[str, str]


@dataclass(frozen=True)
class Rig:
    """Running services; `wires` by the pair they connect."""

    folder: Path
    url: str
    key: str
    values: dict[str, str]
    wires: dict[str, Wire]
    season: Season

    def client(self, timeout: float = HANGS) -> httpx.AsyncClient:
        """Make a client of the gateway with an admin key."""
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, verify=NO_TLS)

    def logs(self, service: str) -> str:
        """Return what a service has logged."""
        return (self.folder / f"{service}.log").read_text(errors="replace")


@asynccontextmanager
async def service(name: str, folder: Path, environ: Mapping[str, str], port: int) -> AsyncIterator[None]:
    """Run one service while the block lasts."""
    command = (sys.executable, "-m", name)
    program = Program(name, command, folder / f"{name}.log", environ={**os.environ, **environ}, grace=8)
    process = spawn(program)
    try:
        await wait_until(lambda: serves(port), timeout=30)
        yield
    finally:
        # In a thread: what the service still waits for may come over a wire that this loop carries.
        await asyncio.to_thread(stop, process, program)


@asynccontextmanager
async def services(folder: Path, stores: Stores, **settings: str) -> AsyncIterator[Rig]:
    """Run the three services on these stores, with wires before and behind the gateway."""
    signer = SigningKey.generate()
    write_jwks(folder / "jwks.json", [signer.public])
    gateway, internal, score, rank = free_ports(4)
    season = Season()
    common = {**SETTINGS, "SEASON_GRACE_SECONDS": season.grace, **settings}
    async with AsyncExitStack() as stack:
        targets = {"client-gateway": gateway, "gateway-score": score, "gateway-rank": rank}
        wires = {
            pair: await stack.enter_async_context(wire(f"http://127.0.0.1:{port}"))
            for pair, port in targets.items()
        }
        ports = {"SCORE_PORT": str(score), "RANK_PORT": str(rank)}
        doors = {
            "GATEWAY_PORT": str(gateway),
            "GATEWAY_INTERNAL_PORT": str(internal),
            "JWKS_FILE": str(folder / "jwks.json"),
            "SCORE_URL": wires["gateway-score"].url,
            "RANK_URL": wires["gateway-rank"].url,
        }
        for name, environ, port in (
            ("score_service", {**ports, **stores.score}, score),
            ("rank_service", {**ports, **stores.rank}, rank),
            ("gateway", doors, internal),
        ):
            await stack.enter_async_context(service(name, folder, {**common, **environ}, port))
        # The gateway's internal port is open a moment before the one that callers use.
        await wait_until(lambda: answers(f"http://127.0.0.1:{gateway}", "/healthz"), timeout=30)
        key = signer.mint("admin", key_id="faults", unlimited=True)
        rig = Rig(folder, wires["client-gateway"].url, key, stores.values, wires, season)
        async with rig.client() as api:
            await season.prepare(api)
        yield rig
        await asyncio.gather(*(each.heal() for each in wires.values()))


@asynccontextmanager
async def wired(folder: Path, database_url: str, redis_url: str, **settings: str) -> AsyncIterator[Rig]:
    """Run the services with a wire on the way to each store too."""
    await emptied(redis_url)
    async with AsyncExitStack() as stack:
        wires: dict[str, Wire] = {}
        environ: dict[str, dict[str, str]] = {"score": {}, "rank": {}}
        values = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        for name, found in environ.items():
            for store, variable in (("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")):
                opened = await stack.enter_async_context(wire(values[variable]))
                wires[f"{name}-{store}"] = opened
                found[variable] = opened.url
        stores = Stores(values, environ["score"], environ["rank"])
        rig = await stack.enter_async_context(services(folder, stores, **settings))
        rig.wires.update(wires)
        try:
            yield rig
        finally:
            await asyncio.gather(*(each.heal() for each in rig.wires.values()))
