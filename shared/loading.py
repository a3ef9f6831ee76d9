"""Loads of the ranking index: a ranking copied from a snapshot of Postgres into Redis.

The order is the proof: `begin` sets `loading`, only *then* the snapshot is opened; of a ranking in
shards, whose lost ones are loaded together, `begin` has set it in all of these by then. A commit whose
apply was skipped (nothing was loading yet) came before `loading`, hence before the snapshot; one
that commits later is applied beside the load. Both are fenced by version, so neither can undo
the other. Every chunk and `finish` check the lock's token: a flush or a second loader stops us.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from prometheus_client import Counter, Histogram

from shared.errors import StoreUnavailable
from shared.index import LOCK_MS, RankingIndex, held
from shared.postgres import Connection, Pool, in_time, slowly, translated
from shared.queries import load as load_queries
from shared.ranking import Entry, Ranking
from shared.wire import Command

log = logging.getLogger(__name__)

CHUNK = 2_000
"""Entries a script writes at once: about 5 ms of the server's time."""

LOADS = Counter("leaderboard_index_loads_total", "Loads of a ranking index by outcome.", ["outcome"])
for _failure in ("error", "lost", "unavailable"):
    LOADS.labels(_failure)  # from zero: what begins with its first count shows no increase
SECONDS = Histogram(
    "leaderboard_index_load_seconds",
    "Time a whole load of a ranking index took.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)

LONGEST = 605.0
"""Seconds to wait for a statement, whose own bound is 600: ten million entries are sorted in far less."""

SIGN_OF_LIFE = LOCK_MS / 3000
"""Seconds without entries after which the lock is prolonged: they may be sorted, or the server be slow."""

_SQL = load_queries(Path(__file__).parent / "sql")


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
            task = asyncio.create_task(self._load(ranking), name=f"load {ranking.name}")
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
            log.warning("a load failed: %s", error, extra={"ranking": ranking.name})
            return
        except Exception:  # the outermost frame of a background task
            LOADS.labels("error").inc()
            log.exception("a load failed", extra={"ranking": ranking.name})
            return
        LOADS.labels(outcome).inc()
        if outcome == "loaded":
            SECONDS.observe(perf_counter() - started)
            log.info("loaded %d entries", count, extra={"ranking": ranking.name})

    async def _copy(self, ranking: Ranking) -> tuple[str, int]:
        """Copy one ranking; return what came of it (see LOADS) and how many entries were read."""
        # The connection comes first: waiting for one must not use up the lock's time.
        with translated():
            async with slowly(self._pool, LONGEST) as connection:
                status, tokens = await self._begin(ranking)
                if not tokens:
                    return status, 0
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(_SQL["take_room"].sql)
                    key = (ranking.leaderboard_id, ranking.generation, ranking.season)
                    cursor: Any = connection.cursor(_SQL["entries_of_ranking"].sql, *key)
                    opened = await self._alive(tokens, in_time(connection, cursor))
                    count = await self._stream(ranking, tokens, connection, opened)
        finished = [await self._index.finish(part, token) for part, token in tokens.items()]
        return ("loaded", count) if finished and all(finished) else ("lost", 0)

    async def _begin(self, ranking: Ranking) -> tuple[str, dict[Ranking, str]]:
        """Take the locks of those parts that nobody has; return the state of the others, and our tokens."""
        status = "ready"
        tokens: dict[Ranking, str] = {}
        try:
            for part in ranking.parts:
                found, token = await self._index.begin(part)
                if found == "mine":
                    tokens[part] = token
                elif found == "loading":
                    status = found
        except StoreUnavailable:
            # A node is away. The others' locks are given back, to be taken as soon as it has returned.
            for part, token in tokens.items():
                with suppress(StoreUnavailable):
                    await self._index.send([self._index.drop(part, token)])
            raise
        return status, tokens

    async def _stream(
        self, ranking: Ranking, tokens: dict[Ranking, str], connection: Connection, cursor: Any
    ) -> int:
        """Write chunks while the next one is fetched and put into words; return the entries read.

        Parts whose lock was lost leave `tokens`.
        """
        count = 0
        writing: asyncio.Task[None] | None = None
        try:
            while rows := await self._alive(tokens, in_time(connection, cursor.fetch(CHUNK))):
                count += len(rows)
                commands = self._commands(tokens, _divided(ranking, rows))
                if writing is not None:
                    await writing
                if not tokens:
                    break
                writing = asyncio.create_task(self._write(tokens, commands))
            if writing is not None:
                await writing
        finally:  # whatever happens, the connection is quiet after
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.wait([writing])
        return count

    async def _alive(self, tokens: dict[Ranking, str], answer: Awaitable[Any]) -> Any:
        """Wait for the database, showing that we live while it does not answer."""
        waiting = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait([waiting], timeout=SIGN_OF_LIFE))[0]:
                await self._write(tokens, self._commands(tokens, {part: [] for part in tokens}))
            return waiting.result()
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait([waiting])

    def _commands(
        self, tokens: dict[Ranking, str], chunks: dict[Ranking, list[Entry]]
    ) -> dict[Ranking, Command]:
        """Build the commands that write entries to those parts that are still ours."""
        return {part: self._index.load(part, tokens[part], chunks[part]) for part in chunks if part in tokens}

    async def _write(self, tokens: dict[Ranking, str], commands: dict[Ranking, Command]) -> None:
        for part, reply in zip(commands, await self._index.send([*commands.values()]), strict=True):
            if not held(reply):
                tokens.pop(part, None)


def _divided(ranking: Ranking, rows: Iterable[Any]) -> dict[Ranking, list[Entry]]:
    entries = map(_entry, rows)
    if ranking.shards == 1:
        return {ranking: list(entries)}
    chunks: dict[Ranking, list[Entry]] = {}
    for entry in entries:
        chunks.setdefault(ranking.part_of(entry.user_id), []).append(entry)
    return chunks


def _entry(row: Any) -> Entry:
    return Entry(row[0], row[1], row[2], row[3])
