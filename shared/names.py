"""Identifiers, their patterns and limits; periods of session ids. No I/O."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import getrandbits
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta

MAX_SCORE = 2**53 - 1
"""The largest magnitude of a score or total: Redis sorts by doubles, exact up to here."""

MAX_RESULTS = 1000
"""Results in one session, and in one batch call."""

MAX_METADATA_BYTES = 1024
"""One result's metadata, as JSON."""

MAX_BODY_BYTES = 2 * 1024 * 1024
"""A request body, everywhere."""

SLUG_PATTERN = r"\A[a-z0-9][a-z0-9_-]{0,63}\Z"
USER_ID_PATTERN = r"\A(?!me\Z)[A-Za-z0-9][A-Za-z0-9_.:@-]{0,63}\Z"

Slug = Annotated[str, Meta(pattern=SLUG_PATTERN, description="a game or leaderboard id")]
UserId = Annotated[str, Meta(pattern=USER_ID_PATTERN, description="a player's id, chosen by the studio")]
Score = Annotated[int, Meta(ge=-MAX_SCORE, le=MAX_SCORE, description="an exact integer")]

is_slug = re.compile(SLUG_PATTERN).match
is_user_id = re.compile(USER_ID_PATTERN).match

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000_MS = 253_402_300_800_000
_DAY_MS = 86_400_000
FIRST_PERIOD = date(1970, 1, 1)
EARLIEST_PLAYED_AT = datetime(2000, 1, 1, tzinfo=UTC)


def period_of(session_id: UUID) -> date:
    """Return the partition key of a session: a pure function of its id.

    A UUIDv7 belongs to the UTC month of its timestamp, any other UUID to 1970-01, so one id
    has one place for ever and the primary key holds across partitions. A v7 id can say the year
    10889, which no date can: it counts as 9999-12 (and is refused, being more than a day ahead).
    """
    milliseconds = unix_ms_of(session_id)
    if milliseconds is None:
        return FIRST_PERIOD
    return _month_of(min(milliseconds, _YEAR_10000_MS - 1) // _DAY_MS)


@lru_cache(maxsize=1024)
def _month_of(day: int) -> date:
    """Return the first of the month of a day, counted from 1970-01-01; most ids are of few days."""
    return date.fromordinal(FIRST_PERIOD.toordinal() + day).replace(day=1)


def unix_ms_of(session_id: UUID) -> int | None:
    """Return the timestamp inside a UUIDv7 in milliseconds (RFC 9562, 5.7), or None for other versions."""
    value = session_id.int
    if (value >> 76) & 0xF != 7 or (value >> 62) & 0x3 != 0b10:
        return None
    return value >> 80


def uuid7() -> UUID:
    """Mint a UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | getrandbits(80)  # unique; it keeps no secret
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0b10 << 62)


def microseconds(moment: datetime) -> int:
    """Return `moment` as whole microseconds since 1970, exactly (no floats)."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def datetime_of(moment: int) -> datetime:
    """Return a moment given in microseconds since 1970, exactly."""
    return EPOCH + timedelta(microseconds=moment)


def rfc3339(moment: datetime) -> str:
    """Format a moment as RFC 3339 in UTC with a trailing Z; microseconds only where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def season_id(season: int) -> str:
    """Return the public id of a season: its start in RFC 3339, or `all` for the endless one (0)."""
    return "all" if season == 0 else rfc3339(datetime.fromtimestamp(season, UTC))


def leaderboard_key(leaderboard_id: int, generation: int, season: int) -> str:
    """Return the name of one ranking: a leaderboard, its generation and a season (0: endless)."""
    return f"{leaderboard_id}.{generation}.{season}"


def clean(value: Any) -> str:
    """Shorten a value that came from outside for an error message."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
