"""What is true of reads without any I/O: which season is meant, what an answer's frame is."""

from __future__ import annotations

from dataclasses import dataclass

from rank_service.envelopes import head
from shared.errors import LeaderboardError, not_found
from shared.messages import SeasonOut
from shared.names import clean
from shared.ranking import Board, Ranking

ENDLESS = SeasonOut("all", None, None, "open")
"""The one season of a leaderboard without a schedule."""


@dataclass(frozen=True)
class View:
    """One season of a leaderboard as a reader asked for it; `head` is how its answers begin."""

    board: Board
    season: SeasonOut
    ranking: Ranking
    head: bytes


def view(board: Board, season: str) -> View:
    """Find the season a reader means: `current`, `previous` or an id.

    Raises:
        LeaderboardError: `season_not_found`, or `leaderboard_building` before the first build ends.
    """
    if board.status == "building":
        raise LeaderboardError("leaderboard_building", f"{board.leaderboard} is being built from its history")
    if season not in ("current", ENDLESS.id):
        raise not_found("season", f"{board.leaderboard} has no season {clean(season)!r}")
    return View(board, ENDLESS, board.ranking(0), head(board.leaderboard, ENDLESS))
