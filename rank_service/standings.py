"""The whole standings of a season, streamed from one snapshot of Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from rank_service import envelopes
from rank_service.rules import View
from rank_service.store import SQL
from shared.errors import LeaderboardError
from shared.postgres import Connection, Pool, in_time, translated
from shared.profiles import fragment
from shared.ranking import Place

CHUNK = 2_000
"""Entries sent at once: about 200 KB."""

AT_ONCE = 2
"""Exports under way; each holds a connection and a snapshot."""

_RANK = {"competition": "rank_with_gaps", "dense": "dense_rank", "first": "place"}


class Standings:
    """Exports rankings, a bounded number at once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._free = asyncio.Semaphore(AT_ONCE)

    def open(self, asked: View) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return an export to be entered; it yields lines of JSON, best entry first.

        Raises:
            LeaderboardError: `overloaded`.
        """
        if self._free.locked():
            raise LeaderboardError("overloaded", "too many exports are under way", retry_after=10)
        return self._export(asked)

    @asynccontextmanager
    async def _export(self, asked: View) -> AsyncIterator[AsyncIterator[bytes]]:
        ranking = asked.ranking
        key = ranking.leaderboard_id, ranking.generation, ranking.season
        async with self._free:
            with translated():
                async with (
                    self._pool.acquire() as connection,
                    connection.transaction(isolation="repeatable_read", readonly=True),
                ):
                    name = "sealed_standings" if ranking.sealed else "standings"
                    cursor: Any = connection.cursor(SQL[name], *key, asked.board.game_id)
                    yield _lines(connection, await in_time(connection, cursor), _RANK[ranking.ties])


async def _lines(connection: Connection, cursor: Any, rank: str) -> AsyncIterator[bytes]:
    while rows := await in_time(connection, cursor.fetch(CHUNK)):
        yield b"".join(_line(row, rank) for row in rows)


def _line(row: Any, rank: str) -> bytes:
    place = Place(row[rank], row["ties"], row["score"], row["rank_with_gaps"] - 1)
    return envelopes.entry(row["user_id"], place, fragment(row["display_name"], row["country"])) + b"\n"
