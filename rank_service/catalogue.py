"""What leaderboards there are, how each is defined, how many are on it, which seasons it has."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Struct

from rank_service import envelopes
from rank_service.answers import Answers
from rank_service.questions import Places, Stood
from rank_service.rules import ENDLESS, View, Views
from shared.boards import Game
from shared.messages import LeaderboardOut, SeasonOut
from shared.ranking import Board


class LeaderboardDetails(LeaderboardOut, frozen=True):
    """A leaderboard's definition, its current season and how many are ranked there.

    `total` is null while the leaderboard is being built.
    """

    season: SeasonOut
    total: int | None


class LeaderboardList(Struct, frozen=True):
    """The leaderboards of a game."""

    leaderboards: list[LeaderboardDetails]


class SeasonDetails(SeasonOut, frozen=True):
    """A season in the list of seasons; `digest` is that of its sealed standings."""

    total: int
    digest: str | None


class Catalogue:
    """Describes leaderboards; each question raises what `Answers.ask` does."""

    def __init__(self, answers: Answers, views: Views) -> None:
        self._answers = answers
        self._views = views

    async def list(self, game: Game, deadline: float) -> LeaderboardList:
        """Describe every leaderboard of a game, in the order of their ids."""
        boards = sorted(game.boards.values(), key=lambda board: board.leaderboard)
        # Asked for together, the totals share a round trip.
        return LeaderboardList(await asyncio.gather(*(self.describe(board, deadline) for board in boards)))

    async def describe(self, board: Board, deadline: float) -> LeaderboardDetails:
        """Describe one leaderboard."""
        total = None if board.status == "building" else await self._total(board, deadline)
        return LeaderboardDetails(
            leaderboard=board.leaderboard,
            title=board.title,
            operator=board.operator,
            order=board.order,
            ties=board.ties,
            schedule=board.schedule,
            timezone=board.timezone,
            modes=None if board.modes is None else tuple(sorted(board.modes)),
            min_score=board.min_score,
            max_score=board.max_score,
            status="building" if board.status == "building" else "ready",
            season=ENDLESS,
            total=total,
        )

    async def seasons(self, asked: View, deadline: float) -> bytes:
        """Answer the seasons of a leaderboard, the current one first."""
        stood: Stood
        source, stood = await self._answers.ask(Places(asked.ranking, asked.board.game_id, ()), deadline)
        season = asked.season
        details = SeasonDetails(
            season.id, season.starts_at, season.ends_at, season.status, total=stood.total, digest=None
        )
        rest = b'"seasons":' + msgspec.json.encode([details])
        return envelopes.envelope(asked.head, stood.total, source, stood.as_of, rest)

    async def _total(self, board: Board, deadline: float) -> int:
        ranking = self._views.find(board, "current").ranking
        _, stood = await self._answers.ask(Places(ranking, board.game_id, ()), deadline)
        total: int = stood.total
        return total
