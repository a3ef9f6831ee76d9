"""Moving in from files and from live servers: once, however often; proved; every difference explained."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import Result
from redis import Redis

from deploy.api import Leaderboard
from deploy.sources import Unusable, read
from deploy.transfer import Target, bring_in
from tests.integration.conftest import Run
from tests.proxy import wire
from tests.stack import Stack
from tests.support import wait_until

Order = str

# The tables as Nakama's migrations leave them, as far as records and their order go.
NAKAMA = """
CREATE TABLE leaderboard (
    id varchar(128) PRIMARY KEY, sort_order smallint NOT NULL DEFAULT 1, operator smallint NOT NULL DEFAULT 0,
    reset_schedule varchar(64), metadata jsonb NOT NULL DEFAULT '{}');
CREATE TABLE leaderboard_record (
    leaderboard_id varchar(128) NOT NULL REFERENCES leaderboard ON DELETE CASCADE,
    owner_id uuid NOT NULL, username varchar(128),
    score bigint NOT NULL DEFAULT 0 CHECK (score >= 0),
    subscore bigint NOT NULL DEFAULT 0 CHECK (subscore >= 0),
    num_score int NOT NULL DEFAULT 1, metadata jsonb NOT NULL DEFAULT '{}',
    create_time timestamptz NOT NULL DEFAULT now(), update_time timestamptz NOT NULL DEFAULT now(),
    expiry_time timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00 UTC',
    max_num_score int NOT NULL DEFAULT 1000000 CHECK (max_num_score > 0),
    PRIMARY KEY (leaderboard_id, expiry_time, score, subscore, owner_id),
    UNIQUE (owner_id, leaderboard_id, expiry_time));
INSERT INTO leaderboard (id, sort_order, operator) VALUES ('laps', 0, 0), ('weekly', 1, 2), ('old', 1, 1);
INSERT INTO leaderboard_record (leaderboard_id, owner_id, score, expiry_time)
    VALUES ('old', gen_random_uuid(), 1, '2020-01-01Z');
"""
RECORD = """
INSERT INTO leaderboard_record (leaderboard_id, owner_id, score, subscore, expiry_time)
VALUES (%s, %s, %s, %s, coalesce(%s, '1970-01-01 00:00:00 UTC'::timestamptz))
"""
NAKAMAS_ORDER = """
SELECT owner_id::text FROM leaderboard_record WHERE leaderboard_id = 'weekly' AND expiry_time = '2199-01-01Z'
ORDER BY score DESC, subscore DESC, owner_id DESC
"""


@pytest.fixture
def nakama(empty_database_url: str) -> Iterator[psycopg.Connection]:
    """A Nakama's Postgres: `laps`, the lowest is best; `weekly`, with ties, subscores and an old period."""
    numbers = random.Random(5)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(NAKAMA)
        for _ in range(60):
            score, subscore = numbers.randrange(10), numbers.randrange(3)
            owner = str(UUID(int=numbers.getrandbits(128)))
            connection.execute(RECORD, ("weekly", owner, score, subscore, "2199-01-01Z"))
            connection.execute(RECORD, ("weekly", owner, 99, 0, "2020-01-01Z"))
            connection.execute(RECORD, ("laps", owner, score, 0, None))
        yield connection


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_file_moves_in_once_and_is_proved(run: Run, game: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("user_id,score\n" + "".join(f"u{n},{n // 2}\n" for n in range(2500)))
    for _ in range(2):
        proof = answer(run("import", "csv", tmp_path / "old.csv", game, "global", "--json"))
        assert (proof["users"], proof["holds"], proof["tied"]) == (2500, True, 2500)
    exported = run("export", game, "global").output.splitlines()
    assert exported[:2] == ["rank,user_id,score,ties", "1,u2498,1249,2"]
    assert len(exported) == 2501


def test_what_was_exported_moves_in_with_the_same_ranks(run: Run, game: str, tmp_path: Path) -> None:
    run("submit", game, "ada=5", "bob=5", "cyd=1")
    run("games", "make", f"{game}-2")
    for form, kind in (("csv", "csv"), ("jsonl", "jsonl")):
        run("export", game, "global", "--format", form, "--output", tmp_path / "standings")
        words = ("import", kind, tmp_path / "standings", f"{game}-2", "global", "--name", "same", "--json")
        proof = answer(run(*words))
        assert (proof["same"], proof["differences"]) == (3, [])


def test_an_import_broken_off_is_taken_up_again(run: Run, stack: Stack, game: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("user_id,score\n" + "".join(f"u{n},1\n" for n in range(3500)))
    source = read("csv", str(tmp_path / "old.csv"), None)

    def broken(_: int) -> None:
        raise KeyError("the machine goes away")

    async def half() -> None:
        async with Leaderboard(stack.url, stack.values["ADMIN_KEY"]) as api:
            await bring_in(api, source, "csv:old", Target(game, "global", None), broken)

    with pytest.raises(ExceptionGroup):
        asyncio.run(half())
    assert answer(run("top", game, "--json"))["total"] >= 1000
    proof = answer(run("import", "csv", tmp_path / "old.csv", game, "global", "--json"))
    assert (proof["same"], proof["holds"]) == (3500, True)
    assert answer(run("top", game, "--json"))["entries"][0]["score"] == 1


@pytest.mark.slow
def test_a_killed_import_is_taken_up_again_by_the_same_command(
    run: Run, stack: Stack, game: str, tmp_path: Path
) -> None:
    users = 32_000
    (tmp_path / "old.csv").write_text("user_id,score\n" + "".join(f"u{n},1\n" for n in range(users)))
    words = ("import", "csv", str(tmp_path / "old.csv"), game, "global", "--json")

    async def recorded(api: Leaderboard) -> int:
        total: int = (await api.top(game, "global"))["total"]
        return total

    async def half() -> int:
        key = stack.values["ADMIN_KEY"]
        async with wire(stack.url) as cable, Leaderboard(stack.url, key) as api:
            cable.delay = 0.2
            command = (sys.executable, "-m", "deploy.cli", *words, "--url", cable.url, "--key", key)
            process = await asyncio.create_subprocess_exec(*command)
            await wait_until(lambda: recorded(api))
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            return await recorded(api)

    assert 0 < asyncio.run(half()) < users
    proof = answer(run(*words))
    assert (proof["same"], proof["holds"]) == (users, True)
    assert answer(run("top", game, "--json"))["entries"][0]["score"] == 1


def test_a_source_that_changed_is_not_counted_twice(run: Run, game: str, tmp_path: Path) -> None:
    for score, code in (("1", 0), ("2", 1)):
        (tmp_path / "old.csv").write_text(f"user_id,score\nada,{score}\n")
        result = run("import", "csv", tmp_path / "old.csv", game, "global")
        assert result.exit_code == code
    assert "session_conflict: the source has changed" in result.output


def test_differences_are_named_and_written_down(run: Run, game: str, tmp_path: Path) -> None:
    run("submit", game, "ada=5", "eve=9")
    (tmp_path / "old.csv").write_text("user_id,score\nada,4\nbob,1\n")
    report = tmp_path / "report.csv"
    words = ("import", "csv", tmp_path / "old.csv", game, "global", "--verify", "--report", report)
    result = run(*words)
    assert result.exit_code == 1
    for text in ("missing here: 1", "ada: 4 there, 5 here", "1 users here are not in the source"):
        assert text in result.output
    with report.open() as file:
        rows = {row["user"]: row["kind"] for row in csv.DictReader(file)}
    assert rows == {"ada": "another score", "bob": "missing here"}


@pytest.mark.parametrize("kind", ["redis", "podium"])
def test_a_sorted_set_moves_in_and_its_ties_are_explained(
    run: Run, game: str, redis_url: str, kind: str
) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.zadd("weekly", {"ada": 3, "bob": 3, "cyd": 1})
    words = ("import", kind, redis_url, game, "global", "--board", "weekly")
    proof = answer(run(*words, "--json"))
    assert (proof["holds"], proof["same"]) == (True, 2)
    (difference,) = proof["differences"]
    assert (difference["user"], difference["rank_there"], difference["rank_here"]) == ("ada", 2, 1)
    assert "all have the best rank of them (competition)" in run(*words).output


@pytest.mark.parametrize("size", [50, 3000])
def test_ranks_there_are_those_the_server_gives(redis_url: str, rng: random.Random, size: int) -> None:
    scores = {f"user-{rng.getrandbits(40):x}": rng.randrange(-20, 20) for _ in range(size)}
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        redis.zadd("board", scores)
        source = read("redis", redis_url, "board")
        assert dict(source.standings) == scores
        asked = rng.sample(sorted(scores), 40)
        assert [source.ranks("desc")[user] - 1 for user in asked] == [
            redis.zrevrank("board", u) for u in asked
        ]
        assert [source.ranks("asc")[user] - 1 for user in asked] == [redis.zrank("board", u) for u in asked]


def test_what_expires_at_podium_is_told(run: Run, game: str, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.zadd("year2026week48", {"ada": 3, "bob": 2})
        redis.expire("year2026week48", 3600)
        redis.zadd("year2026week48:ttl", {"ada": 4_000_000_000})
        redis.sadd("expiration-sets", "year2026week48:ttl")
    words = ("import", "podium", redis_url, game, "global", "--board", "year2026week48")
    found = run(*words)
    assert "proved: 2 users" in found.output
    assert "1 scores expire there" in found.output
    assert "the leaderboard expires there in" in found.output
    assert "name the leaderboard itself" in run(*words[:-1], "year2026week48:ttl").output


def test_a_nakama_moves_in_from_its_postgres(
    run: Run, game: str, nakama: psycopg.Connection, empty_database_url: str
) -> None:
    words = ("import", "nakama", empty_database_url, game, "global", "--board", "weekly", "--json")
    proof = answer(run(*words))
    assert (proof["users"], proof["holds"]) == (60, True)
    assert {each["kind"] for each in proof["differences"]} == {"ties"}
    notes = " ".join(proof["notes"])
    assert "60 records of other periods" in notes
    assert "have a subscore" in notes
    assert answer(run(*words))["holds"]


def test_ranks_there_are_those_nakama_gives(nakama: psycopg.Connection, empty_database_url: str) -> None:
    ranks = read("nakama", empty_database_url, "weekly").ranks("desc")
    theirs = [owner for (owner,) in nakama.execute(NAKAMAS_ORDER)]
    assert sorted(ranks, key=ranks.__getitem__) == theirs


def test_a_nakamas_order_must_be_that_of_the_leaderboard(
    run: Run, game: str, nakama: psycopg.Connection, empty_database_url: str
) -> None:
    words = ("import", "nakama", empty_database_url, game, "laps", "--board", "laps", "--json")
    run("boards", "define", game, "laps", "--operator", "best")
    assert "define the leaderboard with --order asc" in run(*words).output
    run("boards", "define", game, "laps", "--operator", "best", "--order", "asc")
    assert answer(run(*words))["holds"]


def test_a_nakama_table_copied_out_is_the_same_source(
    nakama: psycopg.Connection, empty_database_url: str, tmp_path: Path
) -> None:
    copy = "COPY leaderboard_record TO STDOUT WITH (FORMAT csv, HEADER)"
    with nakama.cursor().copy(copy) as rows, (tmp_path / "records.csv").open("wb") as file:
        for row in rows:
            file.write(row)
    for expiry in (None, "2020-01-01T00:00:00Z"):
        live = read("nakama", empty_database_url, "weekly", expiry)
        copied = read("nakama", str(tmp_path / "records.csv"), "weekly", expiry)
        assert live.records == copied.records


@pytest.mark.parametrize(
    ("board", "expiry", "fault"),
    [
        ("none", None, "no leaderboard 'none'"),
        ("old", None, "every record there has expired"),
        ("weekly", "2021-01-01", "there are 2020-01-01T00:00:00"),
        ("weekly", "soon", "is no time"),
    ],
)
def test_a_period_that_is_not_there_is_refused(
    nakama: psycopg.Connection, empty_database_url: str, board: str, expiry: str | None, fault: str
) -> None:
    with pytest.raises(Unusable, match=fault):
        read("nakama", empty_database_url, board, expiry)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("user,score\nada,1\n", "no column user_id"),
        ("user_id,score\nada,1.5\n", "not a whole number"),
        ("user_id,score\nada,1\nada,2\n", "there twice"),
        ("user_id,score\nan ape,1\n", "no user id here"),
        ("user_id,score\nada,9007199254740993\n", "no longer exact"),
        ("user_id,score,rank\nada,1,first\n", "not a whole number"),
    ],
)
def test_what_cannot_be_held_is_refused_whole(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(Unusable, match=fault):
        read("csv", str(tmp_path / "x.csv"), None)


@pytest.mark.parametrize(
    ("kind", "where", "fault"),
    [
        ("redis", "redis://127.0.0.1:1", "the Redis cannot be read"),
        ("nakama", "postgresql://127.0.0.1:1/x", "the Postgres cannot be read"),
    ],
)
def test_a_server_that_is_away_is_told(kind: str, where: str, fault: str) -> None:
    with pytest.raises(Unusable, match=fault):
        read(kind, where, "x")
