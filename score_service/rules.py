"""What is true without any I/O: when a session may count, and how results fold to entries.

The fold is a set function: an associative, commutative law over contributions, so neither arrival
order nor batching can matter. `merge` is the law in Python; `record_batch` of the schema is the same law
under row locks; a property test holds both to `tests/model.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

import msgspec

from shared.errors import FieldError, LeaderboardError, invalid
from shared.messages import Operator, ResultIn, SessionIn
from shared.names import EARLIEST_PLAYED_AT, MAX_METADATA_BYTES, MAX_SCORE, microseconds, rfc3339, unix_ms_of
from shared.ranking import Board, Ranking

PLAYED_AHEAD = timedelta(minutes=5)
"""How far ahead of our clock a match may have been played."""

ID_AHEAD_MS = 24 * 60 * 60 * 1000
"""How far ahead of our clock the time inside a UUIDv7 may be: its partition must exist."""

canonical = msgspec.json.Encoder(order="deterministic").encode
"""JSON in which equal values have equal bytes; whole numbers of any size, unlike orjson."""


class Contribution(NamedTuple):
    """What one result, or a merge of several, adds to an entry.

    `reached_at` is in microseconds, and what it means is the operator's: for `sum` the latest time
    that changed the score, or, as a negative number, the earliest one when none did (so the greater
    of two always wins); for `count` the latest time; for `best` the earliest at that score; for
    `latest` the time of the result that counts, `session_id` deciding between equal times.
    """

    sort_key: int
    reached_at: int
    session_id: UUID | None


def contribution(
    operator: Operator, ranking: Ranking, score: int, played_at: int, session_id: UUID
) -> Contribution:
    """Return what one result adds; `played_at` in microseconds."""
    if operator == "sum":
        return Contribution(ranking.sort_key(score), played_at if score else -played_at, None)
    if operator == "count":
        return Contribution(ranking.sort_key(1), played_at, None)
    return Contribution(ranking.sort_key(score), played_at, session_id if operator == "latest" else None)


def merge(operator: Operator, a: Contribution, b: Contribution) -> Contribution:
    """Merge two contributions to one entry: associative and commutative."""
    if operator in ("sum", "count"):
        return Contribution(a.sort_key + b.sort_key, max(a.reached_at, b.reached_at), None)
    if operator == "best":
        return min(a, b, key=lambda c: (c.sort_key, c.reached_at))
    return max(a, b, key=lambda c: (c.reached_at, c.session_id or UUID(int=0)))


def standing_line(rank: int, user_id: str, score: int) -> bytes:
    """Return one line of sealed standings in canonical form; the digest is the SHA-256 of all of them.

    Best first, as an export has them: `rank,user_id,score` and a line feed.
    """
    return b"%d,%b,%d\n" % (rank, user_id.encode(), score)


def webhook_pause(attempts: int, chance: float) -> float:
    """Return the seconds until a webhook is tried again: doubled each time, up to six hours.

    Args:
        attempts: how often it was tried.
        chance: from 0 to 1, so that not all that failed together are tried again together.
    """
    return min(5.0 * 2.0 ** min(attempts - 1, 20), 21_600.0) * (0.5 + chance / 2)


def fingerprint(session: SessionIn) -> bytes:
    """Return 16 bytes that tell a replay from a conflict: of the request as sent, before defaults.

    Results are a set, so their order is no difference; nor are spelling, spacing or time offset.
    """
    results = sorted((result.user_id, result.score, result.metadata) for result in session.results)
    sent = None if session.played_at is None else microseconds(session.played_at)
    return blake2b(canonical((session.mode, sent, results)), digest_size=16).digest()


class Remains(NamedTuple):
    """What is left of a session some of whose players were erased: it has no fingerprint any more."""

    mode: str | None
    played_at: datetime
    scores: Mapping[str, int]
    erased: Sequence[int]


def fits(session: SessionIn, remains: Remains) -> bool:
    """Say whether a session may be the one of which this is left: the others' scores as they were,
    and whoever is not known any more on the scores that are left over. Metadata is not compared.
    """
    others = sorted(result.score for result in session.results if result.user_id not in remains.scores)
    known = {r.user_id: r.score for r in session.results if r.user_id in remains.scores}
    return (
        session.mode == remains.mode
        and session.played_at in (None, remains.played_at)
        and known == remains.scores
        and others == sorted(remains.erased)
    )


def check_session(session: SessionIn, path: str = "") -> None:
    """Check what can never change about a session and its type cannot say.

    Raises:
        LeaderboardError: `invalid_request`: a user twice, or metadata past 1 KiB.
    """
    seen: set[str] = set()
    for i, result in enumerate(session.results):
        if result.user_id in seen:
            raise invalid(f"{path}results[{i}].user_id", f"{result.user_id!r} is in this session twice")
        seen.add(result.user_id)
        if result.metadata is not None:
            check_metadata(result, f"{path}results[{i}].metadata")


def check_metadata(result: ResultIn, path: str) -> None:
    """Check the size of a result's metadata, and that Postgres can keep it.

    Raises:
        LeaderboardError: `invalid_request`.
    """
    encoded = canonical(result.metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise invalid(path, f"is {len(encoded)} bytes as JSON; at most {MAX_METADATA_BYTES} are kept")
    if b"\\u0000" in encoded:
        raise invalid(path, "must not hold the character U+0000")


def check_time(session_id: UUID, played_at: datetime | None, now: datetime) -> LeaderboardError | None:
    """Return why a session's times cannot be right now, or None."""
    if played_at is not None and not EARLIEST_PLAYED_AT <= played_at <= now + PLAYED_AHEAD:
        allowed = f"must be from {rfc3339(EARLIEST_PLAYED_AT)} to 5 minutes ahead of now, {rfc3339(now)}"
        return invalid("played_at", allowed)
    stamp = unix_ms_of(session_id)
    if stamp is not None and stamp > microseconds(now) // 1000 + ID_AHEAD_MS:
        return invalid("session_id", "the time inside this UUIDv7 is more than a day ahead")
    return None


def check_bounds(
    boards: Iterable[Board], mode: str | None, results: Iterable[ResultIn]
) -> LeaderboardError | None:
    """Return the error of a session that breaks a bound of a board it counts for, or None."""
    counting = [board for board in boards if board.counts(mode) and has_bounds(board)]
    for board in counting:
        for i, result in enumerate(results):
            if not board.min_score <= result.score <= board.max_score:
                rule = (
                    f"{result.score} is outside {board.min_score}..{board.max_score} of {board.leaderboard}"
                )
                return LeaderboardError(
                    "score_out_of_bounds",
                    f"the score of {result.user_id}: {rule}",
                    errors=[FieldError(f"results[{i}].score", rule)],
                )
    return None


def has_bounds(board: Board) -> bool:
    """Say whether a board refuses any score at all."""
    return board.min_score > -MAX_SCORE or board.max_score < MAX_SCORE
