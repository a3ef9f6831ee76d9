"""What runs unasked: the outbox, partitions ahead of time, entries no board needs any more."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from itertools import islice

import orjson
from prometheus_client import Counter, Gauge

from score_service.batch import EntryKey
from score_service.committer import Committer
from score_service.history import History
from score_service.store import SQL
from shared.boards import board_from_row
from shared.events import publish_entries
from shared.index import RankingIndex
from shared.postgres import IDENTITY, Pool, slowly, translated
from shared.primaries import Primaries
from shared.profiles import forget
from shared.ranking import Ranking
from shared.wire import Command, Line

log = logging.getLogger(__name__)

OUTBOX_AGE = timedelta(seconds=1)
"""A batch not applied for this long was left behind by a crash, or by Redis being away."""

OUTBOX_BATCHES = 100
"""Batches one run takes on."""

MONTHS_AHEAD = 3
"""Partitions of the history that exist before their month begins."""

PURGE_ENTRIES = 5_000
"""Entries deleted by one statement."""

BACKLOG = Gauge("leaderboard_outbox_batches", "Committed batches not yet applied to the index and dropped.")
AGE = Gauge("leaderboard_outbox_age_seconds", "Age of the oldest batch in the outbox.")
RELAYED = Counter("leaderboard_outbox_relayed_total", "Batches the outbox worker applied.")


class Outbox:
    """Applies what a crash, or Redis being away, left behind; on any replica, any number of times."""

    def __init__(self, pool: Pool, committer: Committer, history: History, index: RankingIndex) -> None:
        self._pool = pool
        self._committer = committer
        self._history = history
        self._index = index

    async def sweep(self) -> None:
        """Drop rows this process has applied and no batch came along to drop."""
        if applied := [*islice(self._committer.applied, 1000)]:
            with translated():
                await self._pool.execute(SQL["drop_outbox"], applied)
            self._committer.applied.difference_update(applied)

    async def relay(self) -> None:
        """Apply and publish rows nobody applied in time, then drop them."""
        taken = OUTBOX_BATCHES
        while taken == OUTBOX_BATCHES:
            with translated():
                async with self._pool.acquire() as connection, connection.transaction():
                    rows = await connection.fetch(SQL["claim_outbox"], OUTBOX_AGE, OUTBOX_BATCHES)
                    taken = len(rows)
                    if rows:
                        await self._apply([row["changes"] for row in rows])
                        await connection.execute(SQL["drop_outbox"], [row["outbox_id"] for row in rows])
                        RELAYED.inc(taken)

    async def measure(self) -> None:
        """Note how much waits, and for how long."""
        with translated():
            row = await self._pool.fetchrow(SQL["outbox_backlog"])
        if row is not None:
            BACKLOG.set(row["batches"])
            AGE.set(row["age"])

    async def _apply(self, changes: list[str]) -> None:
        """Apply the named entries as they stand now: their rows may have moved on since."""
        with translated():
            boards = {
                row["leaderboard_id"]: board_from_row(row)
                for row in await self._pool.fetch(SQL["all_boards"])
            }
        keys: set[EntryKey] = set()
        invalid: list[Command] = []
        for change in changes:
            for *names, users in orjson.loads(change):
                if len(names) == 1:
                    invalid.append(forget(names[0], users))
                elif (board := boards.get(names[0])) is not None:  # a dropped board has no index
                    ranking = board.ranking_of(names[1], names[2])
                    keys.update((ranking, user) for user in users)
        found = await self._history.entries(list(keys))
        hints = [
            publish_entries(ranking, [entry.user_id for entry in entries])
            for ranking, entries in found.items()
        ]
        if found or invalid:
            await self._index.write(found, [*hints, *invalid])


class Announcer:
    """Says which primary is written to, so that nobody believes one that it has replaced."""

    def __init__(self, pool: Pool, line: Line, primaries: Primaries) -> None:
        self._pool = pool
        self._line = line
        self._primaries = primaries

    async def announce(self) -> None:
        """Announce the primary, if it answers now: what was true a while ago may not be any more."""
        await self._primaries.listen(self._line)
        with translated():
            identity = await self._pool.fetchval(IDENTITY)
        await self._primaries.announce(self._line, identity)


class Housekeeping:
    """Keeps the tables in shape."""

    def __init__(self, pool: Pool, *, history_months: int) -> None:
        self._pool = pool
        self._history_months = history_months

    async def retain(self) -> None:
        """Close months older than the history kept, fold them into every board's base, detach them.

        Each step can be done again: a crash in between is resumed by the next run, on any replica.
        """
        if not self._history_months:
            return
        with translated():
            row = await self._pool.fetchrow(SQL["oldest_period"])
            assert row is not None, "history has one row"
            wanted = months_before(row["this_month"], self._history_months)
            until = max(wanted, row["closed_until"])
            if until > row["closed_until"]:
                async with slowly(self._pool) as connection, connection.transaction():
                    await connection.execute(SQL["gate_all_exclusively"])
                    await connection.execute(SQL["close_periods"], until)
                log.info("sessions before %s are closed", until)
            behind = await self._pool.fetch(SQL["generations_to_base"], until)
            if behind:
                await self._let_through()
            for row in behind:
                await self._fold_base(row["leaderboard_id"], row["generation"], until)
            async with slowly(self._pool) as connection:
                detached = await connection.fetchval(SQL["detach_periods"], until)
        if detached:
            log.info("detached %d partitions before %s", detached, until)

    async def _let_through(self) -> None:
        """Wait for batches let in before months were closed, those of games made at that very moment too."""
        async with slowly(self._pool) as connection, connection.transaction():
            await connection.execute(SQL["gate_all_exclusively"])

    async def _fold_base(self, leaderboard_id: int, generation: int, until: date) -> None:
        async with slowly(self._pool) as connection, connection.transaction():
            await connection.execute(SQL["lock_leaderboard"], leaderboard_id)
            await connection.execute(SQL["lock_build"], leaderboard_id)
            await connection.execute(SQL["fold_base"], leaderboard_id, generation, until)
            await connection.execute(SQL["set_base_until"], leaderboard_id, generation, until)

    async def make_periods(self) -> None:
        """Make the history's partitions well before their months begin."""
        with translated():
            async with slowly(self._pool) as connection:
                made = await connection.fetchval(SQL["make_periods"], MONTHS_AHEAD)
        if made:
            log.info("made %d partitions", made)

    async def purge(self) -> None:
        """Delete old tombstones, a chunk at a time."""
        done = ""
        while done != "DELETE 0":
            with translated():
                async with slowly(self._pool) as connection:
                    done = await connection.execute(SQL["purge_tombstones"], PURGE_ENTRIES)


class Discarded:
    """Generations no board needs any more."""

    def __init__(self, pool: Pool, line: Line) -> None:
        self._pool = pool
        self._line = line

    async def purge(self) -> None:
        """Delete their entries, a chunk at a time, and the copies of these."""
        while True:
            with translated():
                async with slowly(self._pool) as connection, connection.transaction():
                    row = await connection.fetchrow(SQL["claim_discarded"])
                    if row is None:
                        return
                    *key, shards, layout = row
                    deleted = await connection.fetch(SQL["delete_entries"], *key, PURGE_ENTRIES)
                    # Keys alone matter here, and they do not depend on ties and order.
                    for season in {each["season"] for each in deleted}:
                        ranking = Ranking(
                            key[0], key[1], season, "competition", "desc", shards=shards, layout=layout
                        )
                        await self._line.send([("UNLINK", *part.keys) for part in ranking.parts])
                    left = bool(deleted)
                    for query in ("delete_standings", "delete_discarded_ranks"):
                        if not left:
                            done = await connection.execute(SQL[query], *key, PURGE_ENTRIES)
                            left = done != "DELETE 0"
                    if not left:
                        await connection.execute(SQL["drop_discarded"], *key)


def months_before(month: date, count: int) -> date:
    """Return the first day of the month `count` months before."""
    months = month.year * 12 + month.month - 1 - count
    return date(months // 12, months % 12 + 1, 1)
