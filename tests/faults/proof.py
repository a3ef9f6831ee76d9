"""What must be true whatever broke: asked of a crowd that has played, and of the whole state."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic
from uuid import UUID

import asyncpg

from tests.faults.crowd import Crowd
from tests.faults.rig import HANGS, Rig
from tests.faults.state import check
from tests.support import wait_until

HEALS_WITHIN = 5.0
"""Seconds from the end of a fault to answers as before."""

FELT = 18
"""Answers, of whatever kind, that clients get while something is broken: two each."""

LASTS = 1.2
"""Seconds a fault lasts at least: longer than anything is believed that was known before."""


async def ordeal(
    rig: Rig,
    rng: random.Random,
    fault: Callable[[], AbstractAsyncContextManager[object]],
    *,
    lasts: float = LASTS,
    patience: float = HANGS,
) -> Crowd:
    """Play, break something and mend it (`fault`), see it heal and prove the whole state; return the crowd.

    Args:
        lasts: seconds the fault lasts at least.
        patience: seconds in which clients must have an answer; None may take longer.
    """
    async with rig.client(timeout=patience) as api:
        crowd = Crowd(api, rng)
        await crowd.prepare()
        async with crowd.playing():
            await wait_until(lambda: len(crowd.acknowledged) >= 10, timeout=30)
            async with fault():
                answers, until = crowd.statuses.total() + FELT, monotonic() + lasts
                await wait_until(
                    lambda: crowd.statuses.total() >= answers and monotonic() >= until, timeout=lasts + 30
                )
            await wait_until(lambda: is_well(crowd), timeout=HEALS_WITHIN)
        await prove(crowd, rig.values)
        connection = await asyncpg.connect(rig.values["DATABASE_URL"])
        await rig.season.check(api, connection)
        await connection.close()
    return crowd


async def is_well(crowd: Crowd) -> bool:
    """Say whether a write and a read are answered as ever."""
    written, read = await asyncio.gather(crowd.play(tries=1), crowd.read_quiet())
    return written is not None and read is not None


async def prove(crowd: Crowd, values: dict[str, str]) -> None:
    """Check all that a crowd saw and all that is there now.

    No answer was wrong, every acknowledged session is there once and as it was sent, others once or
    not at all; history, entries, index and answers agree.
    """
    await wait_until(lambda: landed(crowd), timeout=30)
    game = crowd.path.rpartition("/")[2]
    model = await check(values, crowd.api, game)
    await check(values, crowd.api, f"{game}-quiet")
    recorded = set(map(str, model.sessions))
    assert not crowd.wrong, (crowd.wrong[:5], crowd.statuses)
    assert crowd.acknowledged <= recorded, crowd.statuses
    assert recorded <= crowd.acknowledged | crowd.given_up, "recorded, but never sent"
    for session in recorded:
        assert model.sessions[UUID(session)].scores == crowd.sent[session]


async def landed(crowd: Crowd) -> bool:
    """Say whether one more session is recorded: then all that clients gave up has been decided too."""
    return await crowd.play() is not None
