"""Boards folded from the history in the background: a definition on its way is a generation of its own.

From the moment it is put on its way, every batch feeds it too. What was recorded before is folded by
builders, on any replica, a chunk of users at a time, each chunk a transaction that also notes how far it
came: a crash loses at most a chunk. A chunk inserts the entries that nobody has touched; those that a
batch has, it locks and *then*, in a new statement, folds and replaces. At the end the gate is taken alone
for a moment, and what was built is in force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import asyncpg
from prometheus_client import Counter, Gauge, Histogram

from score_service.committer import BEYOND, OUT_OF_RANGE
from score_service.store import SQL
from shared.boards import Games
from shared.errors import LeaderboardError, StoreUnavailable, invalid
from shared.events import RulesChanged, publish
from shared.names import MAX_SCORE
from shared.postgres import Connection, Pool, slowly, translated
from shared.seasons import Season, calendar
from shared.wire import Line

log = logging.getLogger(__name__)

BUILDS = Gauge("leaderboard_builds_waiting", "Boards that are being folded from the history.")
USERS = Counter("leaderboard_build_users_total", "Users folded into boards being built.")
CHUNK_SECONDS = Histogram(
    "leaderboard_build_chunk_seconds",
    "Time of a chunk: what a batch with its users may have to wait.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ENDED = Counter("leaderboard_builds_total", "Builds that ended, by outcome.", ["outcome"])

MAX_SEASONS = 250_000
"""Seasons a board may have when it is folded from its history: 28 years of hours."""

FIRST_CHUNK, MAX_CHUNK = 250, 20_000
"""Users of a build's first chunk, and of any: it grows while chunks are quick."""

QUICK, SLOW = 0.2, 0.5
"""Seconds a chunk may take: below the one the next is bigger, above the other smaller. Batches that hold
its users, and bans, wait for it."""

TURN = 2.0
"""Seconds one build is worked on before it is the next one's turn."""

LONGEST = 605.0
"""Seconds to wait for a statement, whose own bound is 600: chunks take far less, unless one user has played
millions of times."""

PAUSE = 0.02
"""Seconds between two looks at a build that another replica, or a void, holds."""

Step = Literal["on", "taken", "over"]
"""What became of a step: there is more to do, someone else is at it, or there is no such build any more."""


class Builder:
    """Folds the history into definitions on their way, and puts them in force.

    Args:
        line: where it is told that rules changed.
        grace: how long after its end a season takes late results.
    """

    def __init__(self, pool: Pool, games: Games, line: Line, *, grace: timedelta) -> None:
        self._pool = pool
        self._games = games
        self._line = line
        self._grace = grace
        self._chunks: dict[tuple[int, int], int] = {}

    async def run(self) -> None:
        """Work on every build in turn until none is left, or others are at them all."""
        while True:
            with translated():
                waiting = await self._pool.fetch(SQL["waiting_builds"])
            BUILDS.set(len(waiting))
            if not [each for each in waiting if await self._some(each, TURN) != "taken"]:
                return

    async def settle(self, leaderboard_id: int, generation: int, patience: float) -> None:
        """Work on one build, or wait while others do, until it is over or patience is."""
        until = asyncio.get_running_loop().time() + patience
        while (left := until - asyncio.get_running_loop().time()) > 0:
            with translated():
                build = await self._pool.fetchrow(SQL["waiting_build"], leaderboard_id, generation)
            if build is None or build["failure_code"] is not None:
                return
            if await self._some(build, left) == "taken":
                await asyncio.sleep(PAUSE)

    async def _some(self, build: Any, seconds: float) -> Step:
        """Take steps of one build for a while; say `taken` when not even the first could be taken."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        build = dict(build)
        first: Step | None = None
        while True:
            step = await self._step(build)
            first = first or step
            if step == "over":
                self._chunks.pop((build["leaderboard_id"], build["generation"]), None)
                return step
            if step == "taken" or loop.time() >= until:
                return first

    async def _step(self, build: Any) -> Step:
        if build["failure_code"] is not None:
            await self._clear(build)
            return "over"
        try:
            if build["users_total"] is None:
                build["users_total"] = 0
                if (step := await self._prepare(build)) != "on":
                    return step
            step, is_end = await self._fold(build)
            return await self._switch(build) if is_end else step
        except LeaderboardError as error:
            await self._fail(build, error.code, error.detail)
        except asyncpg.NumericValueOutOfRangeError:
            await self._fail(build, OUT_OF_RANGE, BEYOND)
        return "over"

    async def _prepare(self, build: Any) -> Step:
        """Give a build its base and its seasons."""
        starts: list[int] = []
        ends: list[int] = []
        if build["schedule"] is not None and not build["carries"]:
            seasons = await seasons_of_history(self._pool, build)
            starts, ends = ([season[i] for season in seasons] for i in (0, 1))
        key = build["leaderboard_id"], build["generation"]
        async with self._transaction() as connection:
            # Retention folds into a base, and erasing takes out of one, under the same lock.
            await connection.execute(SQL["lock_leaderboard"], build["leaderboard_id"])
            row = await connection.fetchrow(SQL["claim_build"], *key)
            if row is None:
                return await self._whereabouts(connection, key)
            if row["users_total"] is not None:
                return "on"
            await connection.execute(SQL["take_long"])
            if build["carries"]:
                await connection.execute(SQL["carry_base"], *key)
                await connection.execute(SQL["carry_seasons"], *key)
            elif starts:
                await connection.execute(SQL["open_seasons_of_history"], *key, starts, ends, self._grace)
            await connection.execute(SQL["prepare_build"], *key)
        return "on"

    async def _fold(self, build: Any) -> tuple[Step, bool]:
        """Fold the next chunk of users; return whether there were none left."""
        key = build["leaderboard_id"], build["generation"]
        size = self._chunks.get(key, FIRST_CHUNK)
        began = asyncio.get_running_loop().time()
        async with self._transaction() as connection:
            # Inside the gate: whoever bans, erases or switches waits for this chunk, or it for them.
            await connection.execute(SQL["enter_gate"], [build["game_id"]])
            row = await connection.fetchrow(SQL["claim_build"], *key)
            if row is None:
                return await self._whereabouts(connection, key), False
            await connection.execute(SQL["take_long"])
            chunk = await connection.fetchrow(SQL["end_of_chunk"], build["game_id"], row["user_id"], size)
            assert chunk is not None, "an aggregate has a row"
            last, users = chunk
            if not users:
                return "on", True
            await fold_chunk(connection, key, row["user_id"], last)
            await connection.execute(SQL["advance_build"], *key, last, users)
        took = asyncio.get_running_loop().time() - began
        CHUNK_SECONDS.observe(took)
        self._chunks[key] = (
            min(size * 2, MAX_CHUNK) if took < QUICK else size // 2 + 1 if took > SLOW else size
        )
        USERS.inc(users)
        return "on", False

    async def _switch(self, build: Any) -> Step:
        """Put what was built in force, alone behind the gate: no batch acts on what was."""
        key = build["leaderboard_id"], build["generation"]
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], build["game_id"])
            await connection.execute(SQL["lock_leaderboard"], build["leaderboard_id"])
            if await connection.fetchrow(SQL["claim_build"], *key) is None:
                return await self._whereabouts(connection, key)
            if await connection.fetchval(SQL["is_out_of_range"], *key, MAX_SCORE):
                raise LeaderboardError(OUT_OF_RANGE, BEYOND)
            await connection.execute(SQL["discard_present"], build["leaderboard_id"])
            await connection.execute(SQL["carry_digests"], *key)
            await connection.execute(SQL["switch_leaderboard"], *key)
            await connection.execute(SQL["delete_build"], build["leaderboard_id"])
            await connection.execute(SQL["bump_rules"], build["game_id"])
        ENDED.labels("ready").inc()
        log.info(
            "a leaderboard was built", extra={"game": build["game"], "leaderboard": build["leaderboard"]}
        )
        await announce(self._games, self._line, build["game"])
        return "over"

    async def _fail(self, build: Any, code: str, detail: str) -> None:
        with translated():
            generation = [build["leaderboard_id"]], [build["generation"]]
            await self._pool.execute(SQL["fail_builds"], *generation, code, detail)
        about = {"game": build["game"], "leaderboard": build["leaderboard"]}
        log.warning("a leaderboard cannot be built: %s", detail, extra=about)
        await self._clear(build)

    async def _clear(self, build: Any) -> None:
        """Have what a failed build left behind deleted, once no batch feeds it any more."""
        key = build["leaderboard_id"], build["generation"]
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], build["game_id"])
            if await connection.fetchval(SQL["clear_build"], *key) is None:
                return
            await connection.execute(SQL["discard_generation"], *key)
            await connection.execute(SQL["bump_rules"], build["game_id"])
        ENDED.labels("failed").inc()
        await announce(self._games, self._line, build["game"])

    async def _whereabouts(self, connection: Connection, key: tuple[int, int]) -> Step:
        """Say why a build could not be claimed."""
        build = await connection.fetchrow(SQL["waiting_build"], *key)
        return "over" if build is None or build["failure_code"] is not None else "taken"

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with translated():
            async with slowly(self._pool, LONGEST) as connection, connection.transaction():
                yield connection


async def fold_chunk(connection: Connection, key: tuple[int, int], after: str, upto: str) -> None:
    """Fold the users behind one up to another into a generation being built.

    Raises:
        LeaderboardError: `score_total_out_of_range`.
    """
    found = await connection.fetchrow(SQL["fold_chunk"], *key, after, upto)
    assert found is not None, "an aggregate has a row"
    greatest = found["greatest"]
    if found["users"] is not None:
        # Batches got there first. Their rows are locked now: fold again, to see all that is in them.
        again = await connection.fetchval(SQL["refold_chunk"], *key, found["seasons"], found["users"])
        greatest = max(greatest, again)
    if greatest > MAX_SCORE:
        raise LeaderboardError(OUT_OF_RANGE, BEYOND)


async def seasons_of_history(pool: Pool, board: Any) -> list[Season]:
    """Return the seasons in which a game's history was played, by a board's schedule.

    Raises:
        LeaderboardError: `invalid_request`, there would be too many.
    """
    with translated():
        days = [each["day"] for each in await pool.fetch(SQL["days_of_history"], board["game_id"])]
    # A century of hours takes seconds to reckon: others go on meanwhile.
    on = calendar(board["schedule"], board["timezone"]).on
    seasons = await asyncio.to_thread(on, days, MAX_SEASONS)
    if len(seasons) > MAX_SEASONS:
        raise invalid("schedule", f"makes more than {MAX_SEASONS} seasons of the recorded history")
    return seasons


async def announce(games: Games, line: Line, game: str) -> None:
    """Have a change of rules seen at once; without Redis the others find out within a second."""
    games.forget(game)
    try:
        await line.send([publish(RulesChanged(game))])
    except StoreUnavailable as error:
        log.warning("a change of rules was not published: %s", error, extra={"game": game})
