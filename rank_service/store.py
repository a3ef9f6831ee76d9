"""The truth as the read side asks it: one method per named query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rank_service.rules import PastSeason
from shared.cursors import NEWEST, Position
from shared.index import Bucket
from shared.messages import ProfileOut
from shared.postgres import translated
from shared.queries import load as load_queries
from shared.ranking import Board, Place, Ranking, Row, places

SQL = {name: query.sql for name, query in load_queries(Path(__file__).parent / "sql").items()}


class Snapshot(NamedTuple):
    """Consecutive rows of a ranking and how many there are in all."""

    total: int
    rows: list[Row]


class Reads(Protocol):
    """What can be asked of a ranking's rows, whoever keeps them."""

    async def page(self, ranking: Ranking, offset: int, limit: int) -> Snapshot:
        """Return the places from `offset` on."""

    async def around(self, ranking: Ranking, user_id: str, radius: int) -> Snapshot:
        """Return the places around a user; no rows when there is no entry."""

    async def places(self, ranking: Ranking, user_ids: Sequence[str]) -> tuple[int, dict[str, Place]]:
        """Return how many entries there are, and the places of those users who have one."""

    async def rank_of_score(self, ranking: Ranking, score: int) -> tuple[int, int, int]:
        """Return how many entries there are, the rank a score would have, how many are on it."""

    async def distribution(self, ranking: Ranking, buckets: int) -> list[Bucket]:
        """Return ranges of scores, lowest first, and the players in each."""


class Asked(Protocol):
    """What runs reads: the primary's pool, or a standby with the primary behind it."""

    async def fetch(self, query: str, /, *args: Any) -> list[Any]:
        """Run a read."""


class Store:
    """Reads of Postgres; each raises StoreUnavailable when it cannot serve."""

    def __init__(self, pool: Asked) -> None:
        self._pool = pool

    async def page(self, ranking: Ranking, offset: int, limit: int) -> Snapshot:
        """Return the places from `offset` on."""
        return await self._window("page_of_ranking", ranking, offset, limit)

    async def around(self, ranking: Ranking, user_id: str, radius: int) -> Snapshot:
        """Return the places around a user; no rows when there is no entry."""
        return await self._window("neighbourhood_of_user", ranking, user_id, radius)

    async def places(self, ranking: Ranking, user_ids: Sequence[str]) -> tuple[int, dict[str, Place]]:
        """Return how many entries there are, and the places of those users who have one."""
        dense, first = ranking.ties == "dense", ranking.ties == "first"
        rows = await self._fetch("places_of_users", *_key(ranking), first, user_ids)
        total = 0
        found: dict[str, Place] = {}
        for user_id, sort_key, better, scores, ties, ahead in rows:
            if user_id is None:
                total = better
                continue
            rank = (scores if dense else better + ahead) + 1
            found[user_id] = Place(rank, ties, ranking.score(sort_key), better)
        return total, found

    async def rank_of_score(self, ranking: Ranking, score: int) -> tuple[int, int, int]:
        """Return how many entries there are, the rank a score would have, how many are on it."""
        dense = ranking.ties == "dense"
        (row,) = await self._fetch("rank_of_score", *_key(ranking), dense, ranking.sort_key(score))
        total, better, scores, ties = row
        ahead = scores if dense else better + (ties if ranking.ties == "first" else 0)
        return total, ahead + 1, ties

    async def distribution(self, ranking: Ranking, buckets: int) -> list[Bucket]:
        """Return ranges of scores, lowest first, and the players in each."""
        rows = await self._fetch("distribution_of_scores", *_key(ranking), buckets)
        ranges = [(ranking.score(row[0]), ranking.score(row[1]), row[2]) for row in rows]
        return sorted(Bucket(min(a, b), max(a, b), count) for a, b, count in ranges)

    async def season(self, leaderboard_id: int, generation: int, season: int) -> PastSeason | None:
        """Return how a season stands, None for one nobody has used."""
        rows = await self._fetch("season", leaderboard_id, generation, season)
        return PastSeason(*rows[0]) if rows else None

    async def seasons(self, board: Board, before: int, limit: int) -> list[Any]:
        """Return the seasons that began before a moment, newest first, with what is known of each."""
        return await self._fetch("seasons", board.leaderboard_id, board.generation, before, limit)

    async def user(self, game_id: int, user_id: str) -> ProfileOut | None:
        """Return a profile, None for a user the game does not know."""
        rows = await self._fetch("user", game_id, user_id)
        return ProfileOut(*rows[0]) if rows else None

    async def search_users(self, game_id: int, text: str, limit: int) -> list[ProfileOut]:
        """Return users whose id or display name begins with `text`, by id."""
        rows = await self._fetch("search_users", game_id, text, limit)
        return [ProfileOut(*row) for row in rows]

    async def sessions_of_user(
        self, game_id: int, user_id: str, after: Position | None, limit: int
    ) -> list[Any]:
        """Return rows of a user's history, newest first, from behind a position."""
        played_at, session_id = after or NEWEST
        return await self._fetch("sessions_of_user", game_id, user_id, played_at, session_id, limit)

    async def ranks_of_user(self, ranking: Ranking, user_id: str, days: int) -> list[Any]:
        """Return (day, rank, score, total) of a user's daily ranks, oldest first."""
        return await self._fetch("ranks_of_user", *_key(ranking), user_id, days)

    async def ranks_on_day(
        self, day: date, asked: Sequence[tuple[Ranking, str]]
    ) -> list[tuple[bool, int | None]]:
        """Return for each (ranking, user) whether there is a snapshot of that day, and the rank in it."""
        keys = [(*_key(ranking), user_id) for ranking, user_id in asked]
        return [(row[0], row[1]) for row in await self._fetch("ranks_on_day", day, *zip(*keys, strict=True))]

    async def _window(self, query: str, ranking: Ranking, *args: Any) -> Snapshot:
        dense = ranking.ties == "dense"
        (row,) = await self._fetch(query, *_key(ranking), dense, *args)
        total, start, better, scores, first_ties, last_ties, user_ids, sort_keys = row
        first_rank = (scores if dense else better) + 1
        reckoned = places(
            ranking.ties, start, better, first_rank, first_ties, last_ties, [*map(ranking.score, sort_keys)]
        )
        return Snapshot(total, [Row(user, place) for user, place in zip(user_ids, reckoned, strict=True)])

    async def _fetch(self, query: str, *args: Any) -> list[Any]:
        with translated():
            rows: list[Any] = await self._pool.fetch(SQL[query], *args)
        return rows


def _key(ranking: Ranking) -> tuple[int, int, int]:
    return ranking.leaderboard_id, ranking.generation, ranking.season
