"""When seasons stop taking results: fixed by a row of each season, the same for every replica for ever."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from score_service.store import SeasonRow
from shared.names import microseconds
from shared.ranking import Board, Ranking
from shared.seasons import Season, moment_of

KNOWN = 10_000
"""Seasons whose closing is remembered; past it they are looked up again."""

Played = tuple[Iterable[Board], str | None, datetime]
"""The leaderboards of a session's game, its mode, and when it was played."""

Key = tuple[int, int, int]
"""Leaderboard, generation, season."""


class Counted(NamedTuple):
    """A leaderboard a session counts on, and in which season; None: that one was closed before."""

    board: Board
    ranking: Ranking | None


class Closings:
    """What is known of when seasons close; a season nobody has used closes after `grace`."""

    def __init__(self, grace: timedelta, known: Mapping[Key, int] | None = None) -> None:
        self.grace = grace
        self._known = dict(known or {})

    def counts(
        self, boards: Iterable[Board], mode: str | None, played_at: datetime, recorded_at: datetime
    ) -> list[Counted]:
        """Return where a session counts."""
        found = []
        for board in boards:
            if not board.counts(mode):
                continue
            ranking: Ranking | None = None
            if board.calendar is None:
                ranking = board.ranking(0)
            else:
                played = microseconds(played_at)
                season = board.season_at(played // 1_000_000)
                if microseconds(recorded_at) < self.of(board, season):
                    ranking = board.ranking(season.starts)
            found.append(Counted(board, ranking))
        return found

    def of(self, board: Board, season: Season) -> int:
        """Return when a season of a scheduled board closes, in microseconds."""
        closes = self._known.get((*board.generation_key, season.starts))
        return microseconds(moment_of(season.ends) + self.grace) if closes is None else closes

    def unknown(self, sessions: Iterable[Played]) -> list[SeasonRow]:
        """Return the seasons of sessions whose rows have not been seen, in the order of their keys."""
        rows: dict[Key, SeasonRow] = {}
        for boards, mode, played_at in sessions:
            for board in boards:
                if board.calendar is None or not board.counts(mode):
                    continue
                season = board.season_at(microseconds(played_at) // 1_000_000)
                key = (*board.generation_key, season.starts)
                if key not in self._known:
                    rows[key] = SeasonRow(*key, moment_of(season.ends))
        return sorted(rows.values())

    def extended(self, asked: Iterable[SeasonRow], found: Mapping[Key, datetime]) -> Closings:
        """Return the same with what was found when asked: seasons without a row take nothing any more."""
        known = {row[:3]: microseconds(found.get(row[:3], row.ends_at + self.grace)) for row in asked}
        return Closings(self.grace, self._known | known)

    def learn(self, other: Closings) -> None:
        """Take over what another one knows."""
        if other is not self:
            self._known = other._known if len(other._known) <= KNOWN else {}
