"""Jobs that run unasked: kept, repeated, and every failure logged and counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prometheus_client import Counter

log = logging.getLogger(__name__)

FAILURES = Counter("leaderboard_job_failures_total", "Runs of a background job that failed.", ["job"])

MAX_PAUSE = 2.0
"""Seconds between two tries of a job that keeps failing, at most: what it does is done so soon after all
is well again."""

MAX_RARE_PAUSE = 60.0
"""The same for a job that runs less often than that: it is as patient as it is rare, up to here."""


@asynccontextmanager
async def repeated(name: str, job: Callable[[], Awaitable[object]], *, every: float) -> AsyncIterator[None]:
    """Run `job` at once and then every `every` seconds while the block lasts.

    A failing run never ends the job: it is logged, counted, and tried again after a pause that
    doubles up to `MAX_PAUSE` seconds, for a rare job `MAX_RARE_PAUSE`.
    """
    task = asyncio.create_task(_repeat(name, job, every), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _repeat(name: str, job: Callable[[], Awaitable[object]], every: float) -> None:
    longest = max(MAX_PAUSE, min(every, MAX_RARE_PAUSE))
    shortest = pause = min(every, 1.0)
    FAILURES.labels(name)  # from zero: what begins with its first count shows no increase
    while True:
        try:
            await job()
            pause = shortest
            await asyncio.sleep(every)
        except Exception:
            FAILURES.labels(name).inc()
            log.exception("a background job failed", extra={"job": name})
            pause = min(max(pause * 2, 0.1), longest)
            await asyncio.sleep(pause)
