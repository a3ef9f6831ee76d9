"""What is true of reads without any I/O: which season is meant, where a listing goes on."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from rank_service.envelopes import head
from shared.errors import LeaderboardError, invalid, not_found
from shared.messages import SeasonOut
from shared.names import EPOCH, clean, microseconds
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


class Position(NamedTuple):
    """Where a user's history goes on: behind this session."""

    played_at: datetime
    session_id: UUID


def cursor_of(position: Position) -> str:
    """Encode a position as an opaque cursor."""
    raw = microseconds(position.played_at).to_bytes(8, signed=True) + position.session_id.bytes
    return base64.urlsafe_b64encode(raw).decode()


def position_of(cursor: str) -> Position:
    """Decode a cursor.

    Raises:
        LeaderboardError: 422 for one we did not make.
    """
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        played_at = EPOCH + timedelta(microseconds=int.from_bytes(raw[:8], signed=True))
        return Position(played_at, UUID(bytes=raw[8:]))
    except (binascii.Error, ValueError, OverflowError) as error:
        raise invalid("cursor", "must be a next_cursor of an earlier answer") from error
