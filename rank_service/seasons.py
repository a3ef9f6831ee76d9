"""Which season a reader means: the current one by the clock, past ones as Postgres has them."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from rank_service.rules import VIEWS, View, Views, no_season, past, start_asked
from rank_service.store import Store
from shared.ranking import Board

MAX_AGE = 1.0
"""Seconds for which it is believed how a past season stands."""


class Seasons:
    """Finds seasons of leaderboards.

    Args:
        clock: Unix seconds; the current season goes by it.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time) -> None:
        self._store = store
        self.clock = clock
        self._views = Views()
        self._past: dict[tuple[int, int], tuple[float, View]] = {}

    def current(self, board: Board) -> View:
        """Return the current season.

        Raises:
            LeaderboardError: `leaderboard_building`.
        """
        return self._views.current(board, self.clock())

    async def find(self, board: Board, asked: str) -> View:
        """Return the season asked for: `current`, `previous` or an id.

        Raises:
            LeaderboardError: `leaderboard_building`; `season_not_found`, also when nobody used it.
            StoreUnavailable: it is not the current one and Postgres cannot be asked.
        """
        now = self.clock()
        current = self._views.current(board, now)
        if asked == "current":
            return current
        starts = start_asked(board, asked, int(now))
        if starts == current.ranking.season:
            return current
        key = (board.leaderboard_id, starts)
        known = self._past.get(key)
        if known is not None and known[1].board is board and monotonic() - known[0] < MAX_AGE:
            return known[1]
        asked_at = monotonic()
        row = await self._store.season(board.leaderboard_id, board.generation, starts)
        if row is None:
            raise no_season(board, asked)
        if len(self._past) >= VIEWS:
            self._past.clear()
        view = past(board, row, now)
        self._past[key] = (asked_at, view)
        return view
