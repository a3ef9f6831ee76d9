"""Processes killed with -9 at random moments under mixed load: nothing is lost, no rank is wrong."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest

from deploy.processes import alive
from tests.faults.crowd import Crowd
from tests.faults.proof import prove
from tests.stack import Stack, running_stack
from tests.support import wait_until

NAMES = ["GATEWAY", "SCORE", "RANK", "POSTGRES", "REDIS"]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of our own: others would not like what happens to it."""
    with running_stack(tmp_path_factory.mktemp("victim")) as stack:
        yield stack


async def kill(stack: Stack, name: str) -> None:
    """Kill one process and wait until its successor is there."""
    pid = stack.pid(name)
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: stack.pid(name) != pid and alive(stack.pid(name)), timeout=15)


async def storm(stack: Stack, rng: random.Random, victims: list[str]) -> None:
    """Play, kill each in turn at a random moment, and check the whole state at the end."""
    async with stack.client(timeout=20) as api:
        crowd = Crowd(api, rng)
        await crowd.prepare()
        async with crowd.playing():
            for name in victims:
                moment = len(crowd.acknowledged) + rng.randrange(1, 150)
                await wait_until(lambda moment=moment: len(crowd.acknowledged) >= moment, timeout=60)  # type: ignore[misc]
                await kill(stack, name)
        await prove(crowd, stack.values)


@pytest.mark.timeout(180)
async def test_every_process_may_be_killed_under_load(victim: Stack, rng: random.Random) -> None:
    await storm(victim, rng, rng.sample(NAMES, len(NAMES)))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(5))
async def test_a_hundred_kills_lose_nothing(victim: Stack, rng: random.Random, part: int) -> None:
    await storm(victim, rng, [rng.choice(NAMES) for _ in range(20)])
