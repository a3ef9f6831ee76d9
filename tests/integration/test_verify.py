"""`leaderboard verify`: every kind of damage is found and named; play that goes on is not taken for one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import pytest
from redis.asyncio import Redis

from deploy import copies, ledger
from deploy.verify import Findings, verify
from shared.errors import LeaderboardError
from shared.index import RankingIndex
from shared.names import season_id, uuid7
from shared.postgres import IDENTITY, Pool
from shared.ranking import Ranking
from shared.wire import Wire
from tests.integration.test_score_sealing import DUE, void
from tests.integration.test_score_seasons import WEEK, hour, key
from tests.score import Score, score_service
from tests.support import wait_until

Check = Callable[..., Awaitable[Findings]]
BOARDS: dict[str, dict[str, Any]] = {
    "best": {"operator": "best", "ties": "first", "order": "asc"},
    "dense": {"ties": "dense"},
    "latest": {"operator": "latest"},
    "shards": {"index_shards": 3},
}
GLOBAL = "{lb:1.1.0}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "SETTLE", 0.05)
    monkeypatch.setattr(copies, "CHUNK", 7)
    monkeypatch.setattr(ledger, "USERS", 6)


@pytest.fixture
def check(database_url: str, redis_url: str) -> Check:
    """Verifies a board of the game `demo`."""

    async def run(board: str = "global", season: str | None = None) -> Findings:
        return await verify(database_url, redis_url, "demo", board, season, lambda *_: None)

    return run


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        await score.define(**BOARDS)
        yield score


@pytest.fixture
async def played(score: Score, rng: random.Random, pool: Pool) -> Score:
    """Twenty players who have played on four boards, one of them banned, one session void."""
    names = [f"u{i:02}" for i in range(20)]
    for at in range(12):
        session = [(name, rng.randrange(9)) for name in rng.sample(names, 8)]
        await score.post(*session, session_id=str(uuid7()), played_at=hour(at).isoformat())
    await score.post(*((name, 1) for name in names))
    cheat = str(uuid7())
    await score.post(("u00", 500), ("u99", 1), session_id=cheat)
    await void(score, cheat)
    game = await score.state["games"].get("demo")
    await score.state["moderation"].ban(game, "u01", None, "key-1")
    # What is applied once more, a second later, would find the damage first and give the copy up.
    await wait_until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
    return score


@pytest.mark.usefixtures("played")
async def test_healthy_boards_are_equal(check: Check) -> None:
    for board in ("global", *BOARDS):
        found = await check(board)
        assert (found.total, found.first, found.notes) == (0, [], [])
        assert found.compared == {"entries": 20, "seasons": 1, "sealed seasons": 0, "ranks": 19, "indexes": 1}


DAMAGE = """
    UPDATE users SET banned_at = NULL WHERE user_id = 'u01';
    UPDATE entries SET score = 99 WHERE leaderboard_id = 1 AND user_id = 'u05';
    UPDATE entries SET tiebreak = 7 WHERE leaderboard_id = 1 AND user_id = 'u06';
    UPDATE entries SET hidden = true WHERE leaderboard_id = 1 AND user_id = 'u07';
    DELETE FROM entries WHERE leaderboard_id = 1 AND user_id = 'u08';
    UPDATE entries SET deleted_at = now() WHERE leaderboard_id = 1 AND user_id = 'u09';
    DELETE FROM session_results WHERE user_id = 'u10';
    UPDATE entries SET user_id = 'a' WHERE leaderboard_id = 1 AND user_id = 'u11';
    UPDATE entries SET season = 60 WHERE leaderboard_id = 1 AND user_id = 'u12';
    UPDATE entries SET user_id = 'zz' WHERE leaderboard_id = 1 AND user_id = 'u19';
"""
FOUND = {
    "missing entry": {"u08", "u09", "u11", "u12", "u19"},
    "surplus entry": {"u10", "a", "u12", "zz"},
    "wrong entry": {"u01", "u05", "u06", "u07"},
}


@pytest.mark.usefixtures("played")
async def test_entries_that_are_not_the_fold_are_named(check: Check, pool: Pool) -> None:
    await pool.execute(DAMAGE)
    found = await check()
    named = {kind: {each.user_id for each in found.first if each.what == kind} for kind in FOUND}
    assert named == FOUND
    assert {kind: found.differences[kind] for kind in FOUND} == {k: len(users) for k, users in FOUND.items()}
    wrong = {each.user_id: (each.stored, each.should) for each in found.first if each.what == "wrong entry"}
    assert wrong["u01"] == ("hidden True", "hidden False")
    assert wrong["u05"][0] == "score 99"
    assert wrong["u06"] == ("tiebreak 7", "tiebreak 0")
    assert (await check("latest")).differences == {"wrong entry": 1, "surplus entry": 1}


async def test_a_result_of_someone_nobody_knows_is_missed_too(
    check: Check, pool: Pool, played: Score
) -> None:
    await pool.execute("DELETE FROM users WHERE user_id >= 'u15'")
    assert not (await check()).total
    await pool.execute("DELETE FROM entries WHERE user_id = 'u15'")
    assert (await check()).differences["missing entry"] == 1


def shard(further: int) -> str:
    """Name the shard that has `u02`, or one further on."""
    return f"{{lb:5.1.0:{(crc32(b'u02') + further) % 3}/3}}"


Harm = Callable[[Redis], Awaitable[Any]]
HARM: dict[str, tuple[str, Harm, str]] = {
    "a score": ("global", lambda redis: redis.zincrby(f"{GLOBAL}:z", 1, "u02"), "index"),
    "a score made shared": ("global", lambda redis: redis.zadd(f"{GLOBAL}:z", {"u02": -1}), "index"),
    "a member lost": ("global", lambda redis: redis.zrem(f"{GLOBAL}:z", "u03"), "index"),
    "a member too many": ("global", lambda redis: redis.zadd(f"{GLOBAL}:z", {"eve": -3}), "index member"),
    "someone too many": (
        "global",
        lambda redis: asyncio.gather(
            redis.zadd(f"{GLOBAL}:z", {"eve": -3}), redis.hset(f"{GLOBAL}:v", "eve", "5")
        ),
        "index",
    ),
    "an old version": ("global", lambda redis: redis.hset(f"{GLOBAL}:v", "u04", "1"), "index"),
    "a version to come": ("global", lambda redis: redis.hset(f"{GLOBAL}:v", "u04", "99999"), "index"),
    "a version lost": ("global", lambda redis: redis.hdel(f"{GLOBAL}:v", "u04"), "index"),
    "a banned one shown": ("global", lambda redis: redis.zadd(f"{GLOBAL}:z", {"u01": -3}), "index"),
    "the count": ("global", lambda redis: redis.hincrby(f"{GLOBAL}:s", "count", 1), "index count"),
    "a tiebreak": ("best", lambda redis: redis.hset("{lb:2.1.0}:v", "u04", "9:" + "0" * 17), "index"),
    "a member twice": (
        "best",
        lambda redis: redis.zadd("{lb:2.1.0}:z", {"0" * 17 + "u04": 1}),
        "index member",
    ),
    "a distinct score": (
        "dense",
        lambda redis: redis.zadd("{lb:3.1.0}:d", {"-777": -777}),
        "index distinct score",
    ),
    "a score in a shard": (
        "shards",
        lambda redis: redis.zincrby(f"{shard(0)}:z", 1, "u02"),
        "index",
    ),
    "someone in another shard": (
        "shards",
        lambda redis: redis.zadd(f"{shard(1)}:z", {"u02": 1}),
        "index member",
    ),
    "a distinct score lost": (
        "dense",
        lambda redis: redis.zremrangebyrank("{lb:3.1.0}:d", 0, 0),
        "index distinct score",
    ),
}


@asynccontextmanager
async def restored(redis: Redis) -> AsyncIterator[None]:
    """Puts every key back as it was."""
    kept = {key: await redis.dump(key) async for key in redis.scan_iter("{lb:*")}
    yield
    for name, value in kept.items():
        await redis.restore(name, 0, value or b"", replace=True)


@pytest.mark.usefixtures("played")
async def test_an_index_that_holds_something_else_is_told(check: Check, redis: Redis) -> None:
    for harm, (board, do, kind) in HARM.items():
        async with restored(redis):
            await do(redis)
            found = await check(board)
            assert found.differences[kind] == 1, harm
            assert kind in {each.what for each in found.first}
            assert found.notes == ["ranks were not compared: the index holds something else"]
    for board in ("global", *BOARDS):
        assert not (await check(board)).total


@pytest.mark.usefixtures("played")
async def test_a_rank_that_scores_do_not_give_is_told(redis_url: str, redis: Redis, pool: Pool) -> None:
    await redis.zadd("{lb:3.1.0}:d", {"-900": -900})  # where dense ranks come from
    await redis.hincrby("{lb:3.1.0}:s", "distinct", 1)  # or the copy would be given up
    wire = Wire(redis_url, timeout=5)
    index = RankingIndex(wire, idle_ms=60_000)
    index.database_identity = await pool.fetchval(IDENTITY)
    found = Findings()
    await copies.Ranks(copies.Copies(index, wire, pool, found), Ranking(3, 1, 0, "dense", "desc")).compare()
    await wire.close()
    assert found.differences == {"rank": 19}
    assert ("rank 2,", "rank 1,") in {(each.stored[:7], each.should[:7]) for each in found.first}


@pytest.mark.usefixtures("played")
async def test_a_board_nobody_reads_has_no_index_to_compare(check: Check, redis: Redis) -> None:
    await redis.flushdb()
    found = await check()
    assert (found.total, found.compared["seasons without an index"]) == (0, 1)


async def test_play_that_goes_on_is_no_difference(
    check: Check, played: Score, rng: random.Random, database_url: str, redis_url: str
) -> None:
    done = asyncio.Event()

    async def play(replica: Score) -> None:
        while not done.is_set():
            names = [f"u{rng.randrange(40):02}" for _ in range(8)]
            await replica.post(*((name, rng.randrange(50)) for name in dict.fromkeys(names)))

    async with score_service(database_url, redis_url) as other:
        players = [asyncio.create_task(play(replica)) for replica in (played, other, played)]
        rounds = [await check(board) for board in ["global", *BOARDS] * 2]
        done.set()
        await asyncio.gather(*players)
    assert [each.first for each in rounds] == [[]] * 10
    assert all(each.compared["indexes"] == 1 for each in rounds)


SEALED: dict[str, str] = {
    "UPDATE final_standings SET score = 8 WHERE user_id = 'ada'": "sealed digest",
    "UPDATE final_standings SET rank = 3 WHERE user_id = 'bob'": "sealed digest",
    "UPDATE final_standings SET ties = 3 WHERE user_id = 'bob'": "wrong sealed row",
    "UPDATE final_standings SET better = 0 WHERE user_id = 'bob'": "wrong sealed row",
    "DELETE FROM final_standings WHERE user_id = 'bob'": "sealed total",
    "UPDATE seasons SET digest = 'x' WHERE sealed_at IS NOT NULL": "sealed digest",
}


async def test_sealed_standings_that_changed_are_told(score: Score, check: Check, pool: Pool) -> None:
    await score.define(hours={"schedule": "hourly", "ties": "first"})
    for back in (1, 2):
        await score.post(("ada", 9), ("bob", 5), ("cat", 5), played_at=hour(back).isoformat())
    await score.post(("ada", 1))
    await pool.execute(DUE)
    await wait_until(lambda: pool.fetchval("SELECT count(*) = 2 FROM seasons WHERE sealed_at IS NOT NULL"))
    expected = {"entries": 7, "seasons": 3, "sealed seasons": 2, "ranks": 1, "indexes": 1}
    assert (await check("hours")).compared == expected
    for damage, kind in SEALED.items():
        await pool.execute("CREATE TABLE kept AS TABLE final_standings")
        await pool.execute(f"{damage} AND season = {key(hour(1))}")
        assert (await check("hours")).differences[kind] == 1, damage
        assert (await check("hours", season_id(key(hour(1))))).total
        assert not (await check("hours", season_id(key(hour(2))))).total
        await pool.execute("DELETE FROM final_standings")
        await pool.execute("INSERT INTO final_standings SELECT * FROM kept; DROP TABLE kept")


@pytest.mark.usefixtures("score")
async def test_what_is_still_being_built_is_not_called_wrong(check: Check, pool: Pool) -> None:
    await pool.execute("UPDATE leaderboards SET status = 'building'")
    with pytest.raises(LeaderboardError, match="being built"):
        await check()


@pytest.mark.usefixtures("score")
@pytest.mark.parametrize(
    ("board", "season", "code"),
    [("none", None, "leaderboard_not_found"), ("global", "2026-01-01T00:00:00Z", "season_not_found")],
)
async def test_what_is_not_there_is_not_called_equal(
    check: Check, board: str, season: str | None, code: str
) -> None:
    with pytest.raises(LeaderboardError) as error:
        await check(board, season)
    assert error.value.code == code
