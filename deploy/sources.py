"""Where standings come from when one moves in: files, a Redis sorted set, Podium, Nakama."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from shared.names import MAX_SCORE, is_user_id

Standing = tuple[str, int]
"""A user and a score."""

PAGE = 1000
"""Members read from Redis at once."""


class Source(NamedTuple):
    """Standings somewhere else, and how ties are decided there."""

    name: str
    standings: list[Standing]
    ties: str


class Unusable(ValueError):
    """A source cannot be read, or holds what we cannot hold."""


def read(kind: str, where: str, board: str | None) -> Source:
    """Read a source.

    Args:
        kind: csv, jsonl, redis, podium or nakama.
        where: a file, or the URL of a Redis.
        board: the sorted set's key, Podium's or Nakama's leaderboard id.

    Raises:
        Unusable: with the first fault found.
    """
    try:
        if kind in ("redis", "podium"):
            found, ties = list(_sorted_set(where, _needed(board))), "by the member's bytes, descending"
        elif kind == "nakama":
            found, ties = list(_nakama(Path(where), _needed(board))), "by subscore, then by when it was set"
        else:
            found, ties = list((_csv if kind == "csv" else _jsonl)(Path(where))), "as the file has them"
    except (OSError, UnicodeDecodeError, orjson.JSONDecodeError, csv.Error) as error:
        raise Unusable(f"{where}: {error}") from error
    known: set[str] = set()
    for user, score in found:
        check(user, score)
        if user in known:
            raise Unusable(f"{user} is there twice")
        known.add(user)
    return Source(board or Path(where).stem, sorted(found), ties)


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


def _sorted_set(url: str, key: str) -> Iterator[Standing]:
    """Read a sorted set; Podium keeps each leaderboard in one, its id the key, its members public ids."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(url, decode_responses=True) as client:
            if client.type(key) != "zset":
                raise Unusable(f"{key} is no sorted set there")
            start = 0
            while page := client.zrange(key, start, start + PAGE - 1, withscores=True):
                yield from ((str(member), whole(member, score)) for member, score in page)
                start += PAGE
    except RedisError as error:
        raise Unusable(f"the Redis cannot be read: {error}") from error


def _nakama(path: Path, board: str) -> Iterator[Standing]:
    """Read `COPY leaderboard_record TO ... WITH (FORMAT csv, HEADER)`: one leaderboard's records."""
    for row in _rows(path, "leaderboard_id", "owner_id", "score"):
        if row["leaderboard_id"] == board:
            yield row["owner_id"], whole(row["owner_id"], row["score"])


def _csv(path: Path) -> Iterator[Standing]:
    for row in _rows(path, "user_id", "score"):
        yield row["user_id"], whole(row["user_id"], row["score"])


def _jsonl(path: Path) -> Iterator[Standing]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        row = orjson.loads(line)
        if not isinstance(row, dict) or not {"user_id", "score"} <= row.keys():
            raise Unusable(f"{path}:{number}: an object with user_id and score is needed")
        yield str(row["user_id"]), whole(str(row["user_id"]), row["score"])


def _rows(path: Path, *columns: str) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in columns if column not in (reader.fieldnames or ())]:
            raise Unusable(f"{path}: there is no column {missing[0]}; the first line names the columns")
        yield from reader
