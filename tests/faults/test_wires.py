"""Wires cut in every way between every pair: nothing hangs, nothing counts twice, all heals by itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from time import monotonic

import httpx
import pytest
import pytest_asyncio

from tests import servers
from tests.faults.crowd import Crowd
from tests.faults.proof import prove
from tests.faults.rig import PAIRS, Rig, wired
from tests.proxy import Wire
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ("cut", "delay", "silent", "reset", "crawl")
HEALS_WITHIN = 5.0
"""Seconds from the healing of a wire to answers as before."""

FELT = 18
"""Answers, of whatever kind, that clients get while a wire is bad: two each."""

LASTS = 1.2
"""Seconds a wire is bad at least: longer than anything is believed that was known before."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(
    tmp_path_factory: pytest.TempPathFactory, databases: servers.Databases, valkey: str
) -> AsyncIterator[Rig]:
    with databases.fresh() as database_url:
        async with wired(tmp_path_factory.mktemp("wires"), database_url, valkey) as rig:
            yield rig


async def spoil(wire: Wire, kind: str, rng: random.Random) -> None:
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


async def is_well(api: httpx.AsyncClient, crowd: Crowd) -> bool:
    """Say whether a write and a read are answered as ever."""
    written, read = await asyncio.gather(crowd.play(tries=1), crowd.read_quiet())
    return written is not None and read is not None


async def felt(crowd: Crowd) -> None:
    """Wait until a fault has lasted a while and every client has met it."""
    answers, until = crowd.statuses.total() + FELT, monotonic() + LASTS
    await wait_until(lambda: crowd.statuses.total() >= answers and monotonic() >= until, timeout=30)


async def trouble(rig: Rig, rng: random.Random, pair: str, kind: str) -> None:
    wire = rig.wires[pair]
    # On a silent wire of its own a client hears nothing, not even that the deadline has passed.
    async with rig.client(**({"timeout": 1.0} if pair == "client-gateway" else {})) as api:
        crowd = Crowd(api, rng)
        await crowd.prepare()
        async with crowd.playing():
            await wait_until(lambda: len(crowd.acknowledged) >= 10, timeout=30)
            try:
                await spoil(wire, kind, rng)
                await felt(crowd)
            finally:
                await wire.heal()
            await wait_until(lambda: is_well(api, crowd), timeout=HEALS_WITHIN)
        if pair != "client-gateway":
            assert "ReadTimeout" not in crowd.statuses, f"hung past the deadline: {crowd.statuses}"
        await prove(crowd, rig.values)


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


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("pair", "kind"), CASES)
async def test_a_bad_wire_costs_no_session_and_heals(
    rig: Rig, rng: random.Random, pair: str, kind: str
) -> None:
    await trouble(rig, rng, pair, kind)
