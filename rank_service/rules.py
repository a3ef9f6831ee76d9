"""What is true of reads without any I/O: which season is meant, where a listing goes on."""

from __future__ import annotations

from dataclasses import dataclass

from rank_service.envelopes import head
from shared.errors import LeaderboardError, not_found
from shared.messages import SeasonOut
from shared.names import clean
from shared.ranking import Board, Ranking

ENDLESS = SeasonOut("all", None, None, "open")
"""The one season of a leaderboard without a schedule."""

VIEWS = 10_000
"""Seasons of leaderboards whose frame is kept; past it all are made anew."""


@dataclass(frozen=True)
class View:
    """One season of a leaderboard as a reader asked for it; `head` is how its answers begin."""

    board: Board
    season: SeasonOut
    ranking: Ranking
    head: bytes


class Views:
    """Finds the season a reader means, and keeps what was found while the definition stands."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], View] = {}

    def find(self, board: Board, season: str) -> View:
        """Find a season: `current`, `previous` or an id.

        Raises:
            LeaderboardError: `season_not_found`, or `leaderboard_building` before the first build ends.
        """
        key = (board.leaderboard_id, season)
        known = self._known.get(key)
        if known is None or known.board is not board:
            if len(self._known) >= VIEWS:
                self._known.clear()
            known = self._known[key] = view(board, season)
        return known


def view(board: Board, season: str) -> View:
    """Make a `View` (see `Views.find`)."""
    if board.status == "building":
        raise LeaderboardError("leaderboard_building", f"{board.leaderboard} is being built from its history")
    if season not in ("current", ENDLESS.id):
        raise not_found("season", f"{board.leaderboard} has no season {clean(season)!r}")
    return View(board, ENDLESS, board.ranking(0), head(board.leaderboard, ENDLESS))
