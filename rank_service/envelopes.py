"""Answers as bytes: the envelope of api.md put together from parts that rarely change.

Encoding is most of what a hot read costs beyond its round trip, so the parts are templates. User
ids need no escaping (see USER_ID_PATTERN); names come as JSON fragments (see shared.profiles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from shared.messages import SeasonOut, Source
from shared.names import rfc3339
from shared.ranking import Place

ENTRY = b'{"rank":%d,"user_id":"%b",%b,"score":%d,"ties":%d}'
"""One entry of a list, from rank, user id, profile, score and ties."""


class Body(NamedTuple):
    """An encoded answer and its validator."""

    content: bytes
    etag: bytes


def moment() -> bytes:
    """Return the present moment as RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


def head(leaderboard: str, season: SeasonOut) -> bytes:
    """Encode the envelope up to the value of `total`."""
    document = {
        "leaderboard": leaderboard,
        "season": {
            "id": season.id,
            "starts_at": None if season.starts_at is None else rfc3339(season.starts_at),
            "ends_at": None if season.ends_at is None else rfc3339(season.ends_at),
            "status": season.status,
        },
    }
    return orjson.dumps(document)[:-1] + b',"total":'


def envelope(head: bytes, total: int, source: Source, as_of: bytes, rest: bytes) -> bytes:
    """Put an answer together; `rest` is the fields after `as_of`, with their braces closed."""
    return b'%b%d,"source":"%b","as_of":"%b",%b}' % (head, total, source.encode(), as_of, rest)


def entry(user_id: str, place: Place, profile: bytes) -> bytes:
    """Encode one entry of a list."""
    return ENTRY % (place.rank, user_id.encode(), profile, place.score, place.ties)


def single(user_id: str, place: Place, total: int, profile: bytes, more: bytes = b"") -> bytes:
    """Encode `"entry": {...}`: one entry with its percentile; `more` are fields with a comma ahead."""
    return b'"entry":{"rank":%d,"user_id":"%b",%b,"score":%d,"ties":%d,"percentile":%a%b}' % (
        place.rank,
        user_id.encode(),
        profile,
        place.score,
        place.ties,
        percentile(place.better, total),
        more,
    )


def rank_change(place: Place, before: int | None) -> bytes:
    """Encode how many places someone has risen since yesterday, when the rank was `before`."""
    return b',"rank_change":null' if before is None else b',"rank_change":%d' % (before - place.rank)


def listed(entries: Iterable[bytes]) -> bytes:
    """Encode `"entries": [...]` from encoded entries."""
    return b'"entries":[%b]' % b",".join(entries)


def percentile(better: int, total: int) -> float:
    """Return 100 x (total - better) / total: the share of players who are not strictly better.

    It compares scores, so it is the same under every tie policy. `total` is at least 1.
    """
    return 100 * (total - better) / total


def digest(*parts: bytes) -> bytes:
    """Return a short digest of what an answer says; replicas agree on it."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=9).hexdigest().encode()


def field(name: str, value: object) -> bytes:
    """Encode `,"name": value`, to follow other fields."""
    return b',"%b":%b' % (name.encode(), orjson.dumps(value))
