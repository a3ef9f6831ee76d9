"""Loads of the ranking index: a ranking copied from a snapshot of Postgres into Redis.

The order is the proof: `begin` sets `loading`, only *then* the snapshot is opened. A commit whose
apply was skipped (nothing was loading yet) came before `loading`, hence before the snapshot; one
that commits later is applied beside the load. Both are fenced by version, so neither can undo
the other. Every chunk and `finish` check the lock's token: a flush or a second loader stops us.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from time import perf_counter
from typing import Any

from prometheus_client import Counter, Histogram

from shared.errors import StoreUnavailable
from shared.index import RankingIndex, held
from shared.postgres import Connection, Pool, in_time, translated
from shared.queries import load as load_queries
from shared.ranking import Entry, Ranking

log = logging.getLogger(__name__)

CHUNK = 2_000
"""Entries a script writes at once: about 5 ms of the server's time."""

LOADS = Counter("leaderboard_index_loads_total", "Loads of a ranking index by outcome.", ["outcome"])
SECONDS = Histogram(
    "leaderboard_index_load_seconds",
    "Time a whole load of a ranking index took.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)

_ENTRIES = load_queries(Path(__file__).parent / "sql")["entries_of_ranking"].sql


class Loader:
    """Loads rankings into the index, each once at a time, a bounded number at once.

    Args:
        index: an index with a connection of its own, so loads do not delay lookups.
        pool: connections to the primary; a load holds one.
        lanes: loads at once.
    """

    def __init__(self, index: RankingIndex, pool: Pool, *, lanes: int = 2) -> None:
        self._index = index
        self._pool = pool
        self._lanes = asyncio.Semaphore(lanes)
        self._tasks: dict[Ranking, asyncio.Task[None]] = {}

    def start(self, ranking: Ranking) -> asyncio.Task[None]:
        """Start loading `ranking` unless this process does so already; return the load's task."""
        task = self._tasks.get(ranking)
        if task is None:
            task = asyncio.create_task(self._load(ranking), name=f"load {ranking.keys[0]}")
            self._tasks[ranking] = task
            task.add_done_callback(lambda _: self._tasks.pop(ranking, None))
        return task

    async def close(self) -> None:
        """Stop all loads; another replica takes over when their locks run out."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load(self, ranking: Ranking) -> None:
        try:
            async with self._lanes:
                started = perf_counter()
                outcome, count = await self._copy(ranking)
        except StoreUnavailable as error:
            LOADS.labels("unavailable").inc()
            log.warning("a load failed: %s", error, extra={"ranking": ranking.keys[0]})
            return
        except Exception:  # the outermost frame of a background task
            LOADS.labels("error").inc()
            log.exception("a load failed", extra={"ranking": ranking.keys[0]})
            return
        LOADS.labels(outcome).inc()
        if outcome == "loaded":
            SECONDS.observe(perf_counter() - started)
            log.info("loaded %d entries", count, extra={"ranking": ranking.keys[0]})

    async def _copy(self, ranking: Ranking) -> tuple[str, int]:
        """Copy one ranking; return what came of it (see LOADS) and how many entries were read."""
        # The connection comes first: waiting for one must not use up the lock's time.
        with translated():
            async with self._pool.acquire() as connection:
                status, token = await self._index.begin(ranking)
                if status != "mine":
                    return status, 0
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    cursor: Any = connection.cursor(
                        _ENTRIES, ranking.leaderboard_id, ranking.generation, ranking.season
                    )
                    count = await self._stream(ranking, token, connection, await in_time(connection, cursor))
        if count < 0 or not await self._index.finish(ranking, token):
            return "lost", 0
        return "loaded", count

    async def _stream(self, ranking: Ranking, token: str, connection: Connection, cursor: Any) -> int:
        """Write chunks while the next one is fetched; return the entries read, -1 when the lock was lost."""
        count = 0
        rows = await in_time(connection, cursor.fetch(CHUNK))
        while rows:
            count += len(rows)
            command = self._index.load(ranking, token, map(_entry, rows))
            # Both are awaited to their ends whatever happens: the connection must be quiet after.
            replies, rows = await asyncio.gather(
                self._index.send([command]),
                in_time(connection, cursor.fetch(CHUNK)),
                return_exceptions=True,
            )
            for outcome in (replies, rows):
                if isinstance(outcome, BaseException):
                    raise outcome
            if not held(replies[0]):
                return -1
        return count


def _entry(row: Any) -> Entry:
    return Entry(row[0], row[1], row[2], row[3])
