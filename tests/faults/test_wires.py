"""Wires spoiled in every way between every pair: nothing hangs, nothing counts twice, all heals by itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests import servers
from tests.faults.proof import ordeal
from tests.faults.rig import HANGS, PAIRS, Rig, wired
from tests.proxy import Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ("cut", "delay", "silent", "reset", "crawl")
QUICK = {
    ("gateway-score", "reset"),
    ("score-postgres", "silent"),
    ("score-redis", "silent"),
    ("rank-postgres", "silent"),
    ("rank-redis", "cut"),
}
"""What every run tries; the rest is for the long suite."""

CASES = [
    pytest.param(pair, kind, marks=() if (pair, kind) in QUICK else pytest.mark.slow)
    for pair in PAIRS
    for kind in KINDS
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(
    tmp_path_factory: pytest.TempPathFactory, databases: servers.Databases, valkey: str
) -> AsyncIterator[Rig]:
    with databases.fresh() as database_url:
        async with wired(tmp_path_factory.mktemp("wires"), database_url, valkey) as rig:
            yield rig


@asynccontextmanager
async def spoiled(wire: Wire, kind: str, rng: random.Random) -> AsyncIterator[None]:
    match kind:
        case "cut":
            await wire.cut()
        case "delay":
            wire.delay = rng.uniform(0.05, 0.3)
        case "silent":
            wire.silent = True
        case "reset":
            wire.reset_after = rng.randrange(20, 3_000)
        case "crawl":
            wire.chunk = 1
    try:
        yield
    finally:
        await wire.heal()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("pair", "kind"), CASES)
async def test_a_bad_wire_costs_no_session_and_heals(
    rig: Rig, rng: random.Random, pair: str, kind: str
) -> None:
    # On a silent wire of its own a client hears nothing, not even that the deadline has passed.
    own = pair == "client-gateway"
    crowd = await ordeal(
        rig, rng, lambda: spoiled(rig.wires[pair], kind, rng), patience=2.0 if own else HANGS
    )
    assert own or "ReadTimeout" not in crowd.statuses, f"hung past the deadline: {crowd.statuses}"
