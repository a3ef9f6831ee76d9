"""What leaderboards there are, how each is defined, how many are on it, which seasons it has."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import Any

import msgspec
from msgspec import UNSET

from rank_service import envelopes
from rank_service.answers import Answers
from rank_service.questions import Places, Stood
from rank_service.rules import PastSeason, View, past, shown, start_asked
from rank_service.seasons import Seasons
from rank_service.store import Store
from shared.answers import LeaderboardDetails, LeaderboardList, PreviousDigest, SeasonDetails
from shared.boards import Game, outline
from shared.ranking import Board


class Catalogue:
    """Describes leaderboards; each question raises what `Answers.ask` does."""

    def __init__(self, answers: Answers, seasons: Seasons, store: Store) -> None:
        self._answers = answers
        self._seasons = seasons
        self._store = store

    async def list(self, game: Game, deadline: float) -> LeaderboardList:
        """Describe every leaderboard of a game, in the order of their ids."""
        boards = sorted(game.boards.values(), key=lambda board: board.leaderboard)
        # Asked for together, the totals share a round trip.
        return LeaderboardList(await asyncio.gather(*(self.describe(board, deadline) for board in boards)))

    async def describe(self, board: Board, deadline: float) -> LeaderboardDetails:
        """Describe one leaderboard."""
        total = None if board.status == "building" else await self._total(board, deadline)
        season = shown(board.season_at(int(self._seasons.clock())))
        return LeaderboardDetails(**msgspec.structs.asdict(outline(board)), season=season, total=total)

    async def seasons(self, asked: View, cursor: str, limit: int, deadline: float) -> bytes:
        """Answer a page of a leaderboard's seasons, newest first, from behind `cursor` (a season's id)."""
        stood: Stood
        source, stood = await self._answers.ask(Places(asked.ranking, asked.board.game_id, ()), deadline)
        found = []
        before = asked.ranking.season
        if cursor:
            before = start_asked(asked.board, cursor, int(self._seasons.clock()))
        else:
            season = asked.season
            found.append(
                SeasonDetails(
                    season.id, season.starts_at, season.ends_at, season.status, total=stood.total, digest=None
                )
            )
        rows = await self._store.seasons(asked.board, before, limit + 1 - len(found))
        found += [self._details(asked.board, row) for row in rows]
        more = found[limit - 1].id if len(found) > limit else None
        rest = b'"seasons":' + msgspec.json.encode(found[:limit]) + envelopes.field("next_cursor", more)
        return envelopes.envelope(asked.head, stood.total, source, stood.as_of, rest)

    def _details(self, board: Board, row: Any) -> SeasonDetails:
        season = past(
            board, PastSeason(row["season"], row["ends_at"], row["sealed"]), self._seasons.clock()
        ).season
        return SeasonDetails(
            season.id,
            season.starts_at,
            season.ends_at,
            season.status,
            row["total"],
            row["digest"],
            _digests(row["previous_digests"]) or UNSET,
        )

    async def _total(self, board: Board, deadline: float) -> int:
        ranking = self._seasons.current(board).ranking
        _, stood = await self._answers.ask(Places(ranking, board.game_id, ()), deadline)
        total: int = stood.total
        return total


def _digests(kept: str) -> list[PreviousDigest]:
    """Return what Postgres wrote down, with its times (`+00:00`) as ours are."""
    found = msgspec.json.decode(kept, type=list[PreviousDigest])
    return [msgspec.structs.replace(each, sealed_at=each.sealed_at.astimezone(UTC)) for each in found]
