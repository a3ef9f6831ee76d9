"""Where standings come from when one moves in: files, a Redis sorted set, Podium, Nakama."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from shared.names import MAX_SCORE, is_user_id

Standing = tuple[str, int]
"""A user and a score."""

Order = Literal["asc", "desc"]


class Record(NamedTuple):
    """A user's place elsewhere: `tiebreak` orders equal scores there, `rank` is what is written there."""

    user: str
    score: int
    tiebreak: Any = None
    rank: int | None = None


class Source:
    """Standings somewhere else.

    Args:
        name: what they are called.
        records: everyone's.
        ties: how equal scores are told apart there, for people.
        order: which end is best there, where the source says so.
        notes: what a person should know about what moves and what does not.
    """

    def __init__(
        self,
        name: str,
        records: Iterable[Record],
        ties: str,
        *,
        order: Order | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.records = sorted(records, key=lambda record: record.user)
        self.ties = ties
        self.order = order
        self.notes = list(notes)

    @property
    def standings(self) -> list[Standing]:
        """Every user and score, by user."""
        return [(record.user, record.score) for record in self.records]

    def ranks(self, order: Order) -> dict[str, int]:
        """Return everyone's rank there; nothing where the source has none."""
        if all(record.tiebreak is not None for record in self.records):
            best_first = sorted(
                self.records, key=lambda record: (record.score, record.tiebreak), reverse=order == "desc"
            )
            return {record.user: place for place, record in enumerate(best_first, start=1)}
        return {record.user: record.rank for record in self.records if record.rank is not None}


class Unusable(ValueError):
    """A source cannot be read, or holds what we cannot hold."""


def read(kind: str, where: str, board: str | None, expiry: str | None = None) -> Source:
    """Read a source.

    Args:
        kind: csv, jsonl, redis, podium or nakama.
        where: a file, the URL of a Redis, or that of Nakama's Postgres.
        board: the sorted set's key, Podium's or Nakama's leaderboard id.
        expiry: which period of a Nakama leaderboard, by the time its records expire; the present one.

    Raises:
        Unusable: with the first fault found.
    """
    from deploy import elsewhere  # and with it the drivers, which a file does not need

    try:
        if kind == "redis":
            source = elsewhere.sorted_set(where, _needed(board))
        elif kind == "podium":
            source = elsewhere.podium(where, _needed(board))
        elif kind == "nakama" and where.partition("://")[0] in ("postgres", "postgresql"):
            source = elsewhere.nakama(where, _needed(board), expiry)
        elif kind == "nakama":
            rows = _rows(Path(where), "leaderboard_id", "owner_id", "score")
            source = elsewhere.nakama_rows(rows, _needed(board), expiry)
        else:
            records = (_csv if kind == "csv" else _jsonl)(Path(where))
            source = Source(board or Path(where).stem, records, "as the file has them")
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError, csv.Error) as error:
        raise Unusable(f"{where}: {error}") from error
    known: set[str] = set()
    for record in source.records:
        check(record.user, record.score)
        if record.user in known:
            raise Unusable(f"{record.user} is there twice")
        known.add(record.user)
    return source


def check(user: str, score: int) -> None:
    """Refuse what this leaderboard cannot hold.

    Raises:
        Unusable: names the user and the rule.
    """
    if not is_user_id(user):
        raise Unusable(f"{user!r} is no user id here: letters, digits and _.:@- , at most 64 of them")
    if abs(score) > MAX_SCORE:
        raise Unusable(f"{user}: {score} is past {MAX_SCORE}, where scores are no longer exact")


def whole(user: str, text: object) -> int:
    """Return a score as an integer.

    Raises:
        Unusable: it is none; nothing is rounded.
    """
    try:
        number = float(str(text))
        exact = int(str(text)) if not isinstance(text, float) else int(number)
    except (ValueError, OverflowError) as error:
        raise Unusable(f"{user}: {text} is not a whole number; multiply scores before they move") from error
    if exact != number and abs(number) < MAX_SCORE:
        raise Unusable(f"{user}: {text} is not a whole number; multiply scores before they move")
    return exact


def _needed(board: str | None) -> str:
    if not board:
        raise Unusable("say which leaderboard: --board names the sorted set or leaderboard id there")
    return board


def _csv(path: Path) -> Iterator[Record]:
    for row in _rows(path, "user_id", "score"):
        yield _record(row)


def _jsonl(path: Path) -> Iterator[Record]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        row = orjson.loads(line)
        if not isinstance(row, dict) or not {"user_id", "score"} <= row.keys():
            raise Unusable(f"{path}:{number}: an object with user_id and score is needed")
        yield _record(row)


def _record(row: dict[str, Any]) -> Record:
    user, rank = str(row["user_id"]), row.get("rank")
    written = whole(user, rank) if rank not in (None, "") else None
    return Record(user, whole(user, row["score"]), rank=written)


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise Unusable(f"{path}: there is no column {missing[0]}; the first line names the columns")
        yield from reader
