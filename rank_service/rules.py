"""What is true of reads without any I/O: which season is meant, how it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from rank_service.envelopes import head
from shared.errors import LeaderboardError, not_found
from shared.messages import SeasonOut
from shared.names import clean, season_id
from shared.ranking import Board, Ranking
from shared.seasons import Season, moment_of

ENDLESS = SeasonOut("all", None, None, "open")
"""The one season of a leaderboard without a schedule."""

VIEWS = 10_000
"""Seasons of leaderboards whose frame is kept; past it all are made anew."""


class PastSeason(NamedTuple):
    """A season as its row says."""

    season: int
    ends_at: datetime
    sealed: bool


@dataclass(frozen=True)
class View:
    """One season of a leaderboard as a reader asked for it; `head` is how its answers begin."""

    board: Board
    season: SeasonOut
    ranking: Ranking
    head: bytes
    ends: int
    """Until when it is the current season, in Unix seconds."""


class Views:
    """Keeps the view of each leaderboard's current season while that and the definition last."""

    def __init__(self) -> None:
        self._known: dict[int, View] = {}

    def current(self, board: Board, now: float) -> View:
        """Return the current season.

        Raises:
            LeaderboardError: `leaderboard_building` before the first build ends.
        """
        known = self._known.get(board.leaderboard_id)
        if known is None or known.board is not board or not now < known.ends:
            if len(self._known) >= VIEWS:
                self._known.clear()
            known = self._known[board.leaderboard_id] = _current(board, int(now))
        return known


def start_asked(board: Board, asked: str, now: int) -> int:
    """Return the key of the season a reader means: `current`, `previous` or an id.

    Raises:
        LeaderboardError: `season_not_found`, no season can have this id.
    """
    current = board.season_at(now)
    if asked == "current" or asked == season_id(current.starts):
        return current.starts
    if board.calendar is not None and asked == "previous":
        return board.season_at(current.starts - 1).starts
    try:
        starts_at = datetime.fromisoformat(asked) if board.calendar is not None else None
    except ValueError:
        starts_at = None
    if starts_at is None or starts_at.tzinfo is None:
        raise no_season(board, asked)
    return int(starts_at.timestamp())


def past(board: Board, row: PastSeason, now: float) -> View:
    """Make the view of a season that has a row."""
    starts_at = moment_of(row.season)
    ended = row.ends_at.timestamp() <= now
    season = SeasonOut(
        season_id(row.season),
        starts_at,
        row.ends_at,
        "sealed" if row.sealed else "closing" if ended else "open",
    )
    ranking = replace(board.ranking(row.season), sealed=row.sealed)
    return View(board, season, ranking, head(board.leaderboard, season), 0)


def no_season(board: Board, asked: str) -> LeaderboardError:
    """Build the error of a season that never was."""
    return not_found("season", f"{board.leaderboard} has no season {clean(asked)!r}")


def shown(season: Season) -> SeasonOut:
    """Return the public form of a season that is open."""
    if season.starts == 0:
        return ENDLESS
    return SeasonOut(season_id(season.starts), moment_of(season.starts), moment_of(season.ends), "open")


def _current(board: Board, now: int) -> View:
    if board.status == "building":
        failure = None if board.build is None else board.build.failure
        detail = "is being built from its history" if failure is None else f"could not be built: {failure}"
        raise LeaderboardError("leaderboard_building", f"{board.leaderboard} {detail}")
    found = board.season_at(now)
    season = shown(found)
    return View(board, season, board.ranking(found.starts), head(board.leaderboard, season), found.ends)
