"""Processes replaced under load: not one request fails, no stream breaks off, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deploy.processes import alive
from tests.faults.crowd import Crowd
from tests.faults.fleet import Fleet, Replica, running
from tests.faults.state import check
from tests.stack import Stack
from tests.support import wait_until

FINE = {200, 201, 404}
"""404: who has no entry yet."""


@pytest.fixture
def fleet(tmp_path: Path, database_url: str, redis_url: str) -> Fleet:
    return Fleet(tmp_path, database_url, redis_url)


async def follow(api: httpx.AsyncClient, url: str, begun: list[int]) -> None:
    """Follow a stream until cancelled; begin anew whenever it ends, which it may do, but only in order.

    It leads through the first gateway that is ready: one that is replaced, whoever else is.
    """
    while True:
        async with api.stream("GET", url, extensions={"turn": 0}) as stream:
            assert stream.status_code == 200
            begun.append(stream.status_code)
            async for _ in stream.aiter_bytes():
                pass


@asynccontextmanager
async def undisturbed(
    api: httpx.AsyncClient,
    rng: random.Random,
    values: dict[str, str],
    *,
    streams: bool = True,
    strict: bool = True,
) -> AsyncIterator[Crowd]:
    """Play while the block lasts; afterwards everything must be there, and no call may have failed.

    Args:
        streams: follow a stream too.
        strict: if not, calls may have failed that could be sent again.
    """
    crowd = Crowd(api, rng)
    await crowd.prepare()
    begun: list[int] = []
    url = f"{crowd.path}/leaderboards/global/stream"
    follower = asyncio.create_task(follow(api, url, begun)) if streams else None
    try:
        async with crowd.playing():
            await more(crowd)
            yield crowd
            await more(crowd)
    finally:
        if follower is not None:
            follower.cancel()
    if follower is not None:
        with suppress(asyncio.CancelledError):
            await follower
        assert len(begun) > 1, "no stream was ended and begun anew"
    assert not strict or set(crowd.statuses) <= FINE, crowd.statuses
    assert not crowd.wrong
    game = crowd.path.rpartition("/")[2]
    model = await check(values, api, game)
    recorded = {str(session_id) for session_id in model.sessions}
    assert crowd.acknowledged <= recorded <= crowd.acknowledged | crowd.given_up
    assert not strict or recorded == set(crowd.sent)


async def more(crowd: Crowd) -> None:
    """Wait until a few dozen more sessions were answered."""
    wanted = len(crowd.acknowledged) + 40
    await wait_until(lambda: len(crowd.acknowledged) >= wanted, timeout=60)


async def replaced(fleet: Fleet, rng: random.Random, replicas: list[Replica]) -> None:
    """Play while processes are replaced in turn."""
    async with (
        running(*fleet.replicas),
        fleet.client() as api,
        undisturbed(api, rng, fleet.values) as crowd,
    ):
        for replica in replicas:
            await replica.replace()
            await more(crowd)


@pytest.mark.timeout(120)
async def test_replacing_a_process_of_each_kind_fails_no_request(fleet: Fleet, rng: random.Random) -> None:
    await replaced(fleet, rng, [fleet.score[0], fleet.rank[0], fleet.gateways[0]])


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_nor_does_replacing_them_all_again_and_again(fleet: Fleet, rng: random.Random) -> None:
    await replaced(fleet, rng, rng.sample(fleet.replicas, len(fleet.replicas)))


def is_another(stack: Stack, name: str, pid: int) -> bool:
    return stack.pid(name) != pid and alive(stack.pid(name))


@pytest.mark.timeout(180)
async def test_requests_wait_while_the_only_process_is_replaced(stack: Stack, rng: random.Random) -> None:
    async with (
        stack.client(timeout=30) as api,
        undisturbed(api, rng, stack.values, streams=False) as crowd,
    ):
        for name in ("SCORE", "RANK"):
            pid = stack.pid(name)
            os.kill(pid, signal.SIGTERM)
            await wait_until(lambda name=name, pid=pid: is_another(stack, name, pid), timeout=20)  # type: ignore[misc]
            await more(crowd)
