"""Keyset cursors: where a list of sessions, newest first, goes on."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from shared.errors import invalid
from shared.names import EPOCH, microseconds


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


NEWEST = Position(datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
"""Ahead of every session."""
