"""Sealed standings as they were stored: ranks are read, not reckoned; who was banned since is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rank_service.store import SQL, Snapshot, Store
from shared.index import Bucket
from shared.postgres import Pool, translated
from shared.ranking import Place, Ranking, Row


class Unsealed(Exception):
    """The season is not sealed any more: it will be, anew."""


class Sealed:
    """Reads of sealed standings; each raises `Unsealed`, and StoreUnavailable when it cannot serve."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._store = Store(pool)

    async def page(self, ranking: Ranking, offset: int, limit: int) -> Snapshot:
        """Return the places from `offset` on."""
        total, rows = await self._rows("sealed_page", ranking, offset, limit)
        return Snapshot(total, rows)

    async def around(self, ranking: Ranking, user_id: str, radius: int) -> Snapshot:
        """Return the places around a user; no rows when there is no entry."""
        total, rows = await self._rows("sealed_neighbourhood", ranking, user_id, radius)
        return Snapshot(total, rows)

    async def places(self, ranking: Ranking, user_ids: Sequence[str]) -> tuple[int, dict[str, Place]]:
        """Return how many entries there are, and the places of those users who have one."""
        total, rows = await self._rows("sealed_places", ranking, user_ids)
        return total, {row.user_id: row.place for row in rows}

    async def rank_of_score(self, ranking: Ranking, score: int) -> tuple[int, int, int]:
        """Return how many entries there are, the rank a score would have had, how many are on it."""
        (row,) = await self._fetch("sealed_rank_of_score", ranking, score, ranking.score(1))
        total, better, scores, ties = row
        ahead = scores if ranking.ties == "dense" else better + (ties if ranking.ties == "first" else 0)
        return total, ahead + 1, ties

    async def distribution(self, ranking: Ranking, buckets: int) -> list[Bucket]:
        """Return ranges of scores, lowest first, and the players in each."""
        return await self._store.distribution(ranking, buckets)

    async def _rows(self, name: str, ranking: Ranking, *args: Any) -> tuple[int, list[Row]]:
        """Return the total, which comes in a row without a user, and the rows."""
        (total, *_), *rows = await self._fetch(name, ranking, *args)
        return total, [Row(user_id, Place(*place)) for _, user_id, *place, _ in rows]

    async def _fetch(self, name: str, ranking: Ranking, *args: Any) -> list[Any]:
        key = ranking.leaderboard_id, ranking.generation, ranking.season
        with translated():
            rows = await self._pool.fetch(SQL[name], *key, *args)
        if not rows:
            raise Unsealed
        return rows
