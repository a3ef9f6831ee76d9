"""Other leaderboards' own storage, read while they run: Redis, Podium's Redis, Nakama's Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from redis import Redis
from redis.exceptions import RedisError

from deploy.sources import Order, Record, Source, Unusable, whole

PAGE = 1000
"""Members or rows read at once."""

BY_MEMBER = "by the bytes of the member's name, in reverse where the highest score is best"
BY_SUBSCORE = "by subscore, then by owner_id"

EXPIRY_SET = "expiration-sets"
"""Where Podium lists its leaderboards whose scores expire; each has its times in `<leaderboard>:ttl`."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""What Nakama writes as the expiry of records that do not expire."""

NAKAMA_BOARD = "SELECT sort_order, operator FROM leaderboard WHERE id = %s"
NAKAMA_EXPIRIES = """
SELECT expiry_time, count(*) FROM leaderboard_record WHERE leaderboard_id = %s GROUP BY 1 ORDER BY 1
"""
NAKAMA_RECORDS = """
SELECT owner_id::text, score, subscore FROM leaderboard_record WHERE leaderboard_id = %s AND expiry_time = %s
"""
OPERATORS = {0: "best", 1: "latest", 2: "sum", 3: "sum"}
"""What Nakama's operators best, set, increment and decrement are called here."""


def sorted_set(url: str, key: str) -> Source:
    """Read a sorted set.

    With ZSCAN, not by rank: whoever is in the set all the while is met, also while others move.

    Raises:
        Unusable: it is no sorted set, or the Redis cannot be read.
    """
    try:
        with Redis.from_url(url, decode_responses=True) as client:
            return Source(key, _members(client, key), BY_MEMBER)
    except RedisError as error:
        raise Unusable(f"the Redis cannot be read: {error}") from error


def podium(url: str, board: str) -> Source:
    """Read a leaderboard of Podium's: a sorted set named for it, its members public ids.

    Raises:
        Unusable: there is none of that name, or the Redis cannot be read.
    """
    if board == EXPIRY_SET or board.endswith(":ttl"):
        raise Unusable(f"{board} is where Podium keeps times of expiry; name the leaderboard itself")
    notes = []
    try:
        with Redis.from_url(url, decode_responses=True) as client:
            records = _members(client, board)
            expiring = int(client.zcard(f"{board}:ttl"))
            seconds = int(client.ttl(board))
    except RedisError as error:
        raise Unusable(f"the Redis cannot be read: {error}") from error
    if expiring:
        notes.append(f"{expiring:,} scores expire there; here a score stays (void or ban takes it out)")
    if seconds > 0:
        notes.append(f"the leaderboard expires there in {seconds:,} s; here it stays, or has a schedule")
    return Source(board, records, BY_MEMBER, notes=notes)


def _members(client: Redis, key: str) -> list[Record]:
    if client.type(key) != "zset":
        raise Unusable(f"{key} is no sorted set there")
    found = {str(member): score for member, score in client.zscan_iter(key, count=PAGE)}
    return [Record(member, whole(member, score), member.encode()) for member, score in found.items()]


def nakama(url: str, board: str, expiry: str | None) -> Source:
    """Read one period of a leaderboard from the Postgres of a Nakama server, in one snapshot.

    Raises:
        Unusable: there is no such leaderboard or period, or the Postgres cannot be read.
    """
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            definition = connection.execute(NAKAMA_BOARD, (board,)).fetchone()
            if definition is None:
                raise Unusable(f"there is no leaderboard {board!r} in that Nakama")
            periods = {row[0]: int(row[1]) for row in connection.execute(NAKAMA_EXPIRIES, (board,))}
            period = _period(periods, expiry)
            with connection.cursor(name="records", row_factory=dict_row) as cursor:
                cursor.itersize = PAGE
                records = _records(cursor.execute(NAKAMA_RECORDS, (board, period)))
    except psycopg.Error as error:
        raise Unusable(f"the Postgres cannot be read: {str(error).strip()}") from error
    order: Order = "asc" if definition[0] == 0 else "desc"
    notes = [f"its operator there is called {OPERATORS.get(definition[1], 'sum')!r} here", *_notes(records)]
    if len(periods) > 1:
        others = sum(periods.values()) - periods.get(period, 0)
        notes.append(
            f"{others:,} records of other periods stay behind; --expiry names one: {_named(periods)}"
        )
    return Source(board, records, BY_SUBSCORE, order=order, notes=notes)


def nakama_rows(rows: Iterable[Mapping[str, str]], board: str, expiry: str | None) -> Source:
    """Read one period of a leaderboard from `COPY leaderboard_record TO ... WITH (FORMAT csv, HEADER)`.

    Raises:
        Unusable: there is no such leaderboard or period.
    """
    chosen = [row for row in rows if row["leaderboard_id"] == board]
    if not chosen:
        raise Unusable(f"there is no record of a leaderboard {board!r} in that file")
    periods: dict[datetime, int] = {}
    for row in chosen:
        periods[_expires(row)] = periods.get(_expires(row), 0) + 1
    period = _period(periods, expiry)
    records = _records(row for row in chosen if _expires(row) == period)
    return Source(board, records, BY_SUBSCORE, notes=_notes(records))


def _expires(row: Mapping[str, str]) -> datetime:
    text = row.get("expiry_time")
    return _moment(text) if text else NEVER


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unusable(f"{text!r} is no time: write it as 2026-11-30T00:00:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _period(periods: Mapping[datetime, int], expiry: str | None) -> datetime:
    """Return the period wanted: by default the present one, which never expires or is the next to."""
    if expiry is not None:
        wanted = _moment(expiry)
        if wanted not in periods:
            raise Unusable(f"no record expires at {wanted.isoformat()}: there are {_named(periods)}")
        return wanted
    now = datetime.now(UTC)
    present = [each for each in sorted(periods) if each == NEVER or each > now]
    if not present and periods:
        raise Unusable(f"every record there has expired; --expiry names a period: {_named(periods)}")
    return present[0] if present else NEVER


def _named(periods: Mapping[datetime, int]) -> str:
    return ", ".join(each.astimezone(UTC).isoformat() for each in sorted(periods)) or "none at all"


def _records(rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    records = []
    for row in rows:
        owner = str(row["owner_id"])
        subscore = whole(owner, row.get("subscore") or 0)
        records.append(Record(owner, whole(owner, row["score"]), (subscore, _owner_bytes(owner))))
    return records


def _owner_bytes(owner: str) -> bytes:
    try:
        return UUID(owner).bytes
    except ValueError:
        return owner.encode()


def _notes(records: list[Record]) -> list[str]:
    with_subscore = sum(record.tiebreak[0] != 0 for record in records)
    return (
        [f"{with_subscore:,} records have a subscore, which has no counterpart here"] if with_subscore else []
    )
