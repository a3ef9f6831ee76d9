"""Where players stood at the end of each day: snapshots for charts, taken once a day for each ranking.

One statement takes a snapshot whole: a crash leaves none, and the next run, on any replica, goes on with
the rankings that have none yet. A day on which nothing ran at its end is a gap: nobody knows it any more.
"""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import Counter

from score_service.store import SQL
from shared.postgres import Connection, Pool, slowly, translated

log = logging.getLogger(__name__)

PURGE_RANKS = 5_000
"""Ranks deleted by one statement."""

LONGEST = 600.0
"""Seconds a snapshot may take: see `allow_minutes`."""

TAKEN = Counter("leaderboard_snapshots_total", "Daily snapshots of rankings taken.")


class Snapshots:
    """Takes snapshots and forgets old ones.

    Args:
        days: how many days are kept; 0 takes none, and forgets those there are.
    """

    def __init__(self, pool: Pool, *, days: int) -> None:
        self._pool = pool
        self._days = days

    async def run(self) -> None:
        """Take the snapshots that are due, unless another replica is at it; delete outdated ones."""
        with translated():
            async with slowly(self._pool, LONGEST) as connection:
                if not await connection.fetchval(SQL["take_turn"]):
                    return
                try:
                    while self._days and (due := await connection.fetchrow(SQL["due_snapshot"])):
                        await self._take(connection, due)
                    await self._forget(connection)
                finally:
                    await connection.execute(SQL["end_turn"])

    async def _take(self, connection: Connection, due: Any) -> None:
        async with connection.transaction():
            # For a moment alone behind the gate: whatever changes from here on has a greater version.
            await connection.execute(SQL["gate_exclusively"], due["game_id"])
            version = await connection.fetchval(SQL["version_now"])
        async with connection.transaction():
            await connection.execute(SQL["allow_minutes"])
            ranking = (due["leaderboard_id"], due["generation"], due["season"], due["day"])
            await connection.execute(SQL["take_snapshot"], *ranking, version)
        TAKEN.inc()

    async def _forget(self, connection: Connection) -> None:
        while old := await connection.fetchrow(SQL["outdated_snapshot"], self._days):
            while await connection.execute(SQL["delete_ranks"], *old, PURGE_RANKS) != "DELETE 0":
                pass
            await connection.execute(SQL["drop_snapshot"], *old)
