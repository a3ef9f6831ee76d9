"""The group commit under fire: locks, lost connections, rows that break a batch, full queues."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY

from score_service.batch import Outcome, Submission
from score_service.committer import Committer
from score_service.rules import fingerprint
from shared.errors import LeaderboardError, StoreUnavailable
from shared.messages import LeaderboardIn, SessionIn
from shared.names import period_of, uuid7
from shared.postgres import Pool, open_pool
from shared.primaries import BELIEVED, Primaries
from tests.proxy import wire
from tests.score import Score, score_service
from tests.support import wait_until

GATE = "SELECT pg_advisory_xact_lock(1, game_id) FROM games WHERE game = 'demo'"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
LINGER = """
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(99); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION linger()"""
"""Holds every commit of a batch while someone holds the lock 99."""


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url, score_lanes=2, score_crowd=1) as score:
        await score.define()
        yield score


async def test_two_replicas_on_the_same_users_stay_exact_and_never_deadlock(
    database_url: str, redis_url: str, score: Score, pool: Pool, rng: random.Random
) -> None:
    await score.define(best={"operator": "best", "ties": "first"}, last={"operator": "latest"})
    users = [f"u{i}" for i in range(50)]
    totals: Counter[str] = Counter()

    async def play(replica: Score) -> None:
        results = [(user, rng.randrange(100)) for user in rng.sample(users, 20)]
        await replica.post(*results)
        totals.update(dict(results))

    retried = REGISTRY.get_sample_value("leaderboard_batches_total", {"outcome": "retried"})
    small = {"score_lanes": 2, "score_crowd": 1, "score_batch_results": 60}
    async with (
        score_service(database_url, redis_url, **small) as one,
        score_service(database_url, redis_url, **small) as two,
    ):
        await asyncio.gather(*(play(replica) for _ in range(60) for replica in (one, two)))
    rows = await pool.fetch("SELECT user_id, score FROM entries WHERE leaderboard_id = 1")
    assert {row["user_id"]: row["score"] for row in rows} == totals
    assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM game_sessions") >= 40
    again = REGISTRY.get_sample_value("leaderboard_batches_total", {"outcome": "retried"})
    assert again == retried, "a batch was tried again: a deadlock"


async def test_sessions_survive_lost_connections_exactly_once(score: Score, pool: Pool) -> None:
    kill = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = 'score_service' AND datname = current_database()"""
    posts = [asyncio.create_task(score.post((f"u{i % 5}", 1), session_id=str(uuid7()))) for i in range(200)]
    killed = 0
    while not all(post.done() for post in posts):
        # Few enough that a batch tried again with growing pauses gets through in its 5 seconds.
        killed += await pool.fetchval(kill) if killed < 8 else 0
        await asyncio.wait(posts, timeout=0.005)
    answers = [await post for post in posts]
    assert killed
    assert not any(replayed for _, replayed in answers)
    assert await pool.fetchval("SELECT sum(score) FROM entries") == 200
    assert await pool.fetchval("SELECT count(*) FROM session_results") == 200


async def test_a_commit_whose_answer_was_lost_is_no_replay_to_its_caller(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    """The connection dies while COMMIT runs: the batch goes through, and only its retry can tell."""
    await pool.execute(LINGER)
    async with wire(database_url) as line, score_service(line.url, redis_url) as score:
        await score.define()
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock(99)")
            post = asyncio.create_task(score.post(("ada", 5)))
            await wait_until(lambda: pool.fetchval(WAITING))
            await line.cut()
            await connection.execute("SELECT pg_advisory_unlock(99)")
        await wait_until(lambda: pool.fetchval("SELECT count(*) FROM game_sessions"))
        await line.heal()
        answer, replayed = await post
    assert (replayed, answer.results[0].entries[0].score) == (False, 5)
    assert await pool.fetchval("SELECT score FROM entries") == 5


async def test_a_session_that_breaks_a_batch_harms_no_other(score: Score, pool: Pool) -> None:
    await pool.execute(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF NEW.user_id = 'poison' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
           CREATE TRIGGER refuse BEFORE INSERT ON session_results FOR EACH ROW EXECUTE FUNCTION refuse()"""
    )
    names = ["poison" if i in (7, 30) else f"u{i}" for i in range(40)]
    outcomes = await asyncio.gather(*(score.post((name, 1)) for name in names), return_exceptions=True)
    broken = [
        name for name, outcome in zip(names, outcomes, strict=True) if isinstance(outcome, BaseException)
    ]
    assert broken == ["poison", "poison"]
    assert await pool.fetchval("SELECT count(*) FROM entries") == 38


async def test_a_batch_waits_at_the_gate_and_acts_on_the_rules_behind_it(score: Score, pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(GATE)
        post = asyncio.create_task(score.post(("ada", 500)))
        await wait_until(lambda: pool.fetchval(WAITING))
        await connection.execute("UPDATE leaderboards SET max_score = 100")
        await connection.execute("UPDATE games SET rules_version = rules_version + 1")
        assert not post.done()
    with pytest.raises(LeaderboardError) as error:
        await post
    assert error.value.code == "score_out_of_bounds"


async def test_a_definition_waits_for_running_batches(score: Score, pool: Pool) -> None:
    game = await score.state["games"].get("demo")
    shared = GATE.replace("xact_lock", "xact_lock_shared")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(shared)
        put = score.state["definitions"].put_leaderboard(game, "second", LeaderboardIn())
        task = asyncio.create_task(put)
        await wait_until(lambda: pool.fetchval(WAITING))
        assert not task.done()
    assert (await task)[1]


async def test_a_full_queue_refuses_at_once_and_loses_nothing(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    async with score_service(database_url, redis_url, score_queue_sessions=5) as score:
        await score.define()
        await score.post(("ada", 1))
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(GATE)
            first = asyncio.create_task(score.post(("ada", 1)))
            await wait_until(lambda: pool.fetchval(WAITING))
            posts = [asyncio.create_task(score.post(("ada", 1))) for _ in range(12)]
            await wait_until(lambda: sum(post.done() for post in posts) == 7)
        outcomes = await asyncio.gather(first, *posts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, LeaderboardError)]
    assert {(error.code, error.retry_after) for error in refused} == {("overloaded", 1)}
    assert await pool.fetchval("SELECT score FROM entries") == 1 + 13 - len(refused)


async def test_a_deadline_ends_the_wait_and_the_retry_is_safe(score: Score, pool: Pool) -> None:
    session_id = str(uuid7())
    await score.post(("ada", 1))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(GATE)
        with pytest.raises(TimeoutError):
            await score.post(("ada", 2), session_id=session_id, timeout=0.2)
    await score.post(("ada", 2), session_id=session_id)
    assert await pool.fetchval("SELECT score FROM entries") == 3


async def test_without_postgres_nothing_is_claimed(score: Score, pool: Pool, database_url: str) -> None:
    await score.post(("ada", 1))
    host, _, name = database_url.rpartition("/")
    admin = await asyncpg.connect(f"{host}/postgres")
    await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        with pytest.raises((StoreUnavailable, TimeoutError)):
            await score.post(("ada", 5), timeout=1.0)
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        await admin.close()
    await score.post(("ada", 2))
    assert await pool.fetchval("SELECT score FROM entries") in (3, 8)


@pytest.mark.parametrize("state", ["53100", "53300", "25006", "40P01", "57014", "55P03"])
async def test_a_server_that_cannot_serve_is_a_503_and_the_retry_counts_once(
    database_url: str, redis_url: str, pool: Pool, state: str
) -> None:
    """Disk full, too many connections, read-only, deadlock, statement and lock timeouts."""
    session_id = str(uuid7())
    async with score_service(database_url, redis_url, score_retry_ms=100) as score:
        await score.define()
        await pool.execute(
            f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'cannot' USING ERRCODE = '{state}'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION refuse()"""
        )
        with pytest.raises(StoreUnavailable):
            await score.post(("ada", 1), session_id=session_id)
        await pool.execute("DROP TRIGGER refuse ON entries")
        await score.post(("ada", 1), session_id=session_id)
    assert await pool.fetchval("SELECT sum(score) FROM entries") == 1


async def test_closing_commits_what_was_accepted(database_url: str, redis_url: str, pool: Pool) -> None:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        await score.post(("ada", 1))
        posts = [asyncio.create_task(score.post(("ada", 1))) for _ in range(50)]
        await asyncio.wait(posts, timeout=0.001)
    answers = await asyncio.gather(*posts, return_exceptions=True)
    recorded = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert await pool.fetchval("SELECT score FROM entries") == 1 + len(recorded)


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_commit_that_an_old_primary_answered_is_tried_again_and_counts_once(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    clock = Clock()
    primaries = Primaries(clock)
    seen: list[str] = []
    await pool.execute(LINGER)
    own = open_pool(
        database_url,
        size=2,
        timeout=5,
        name="old",
        on_identity=seen.append,
        statement_timeout_ms=9_000,
        primaries=primaries,
    )
    async with score_service(database_url, redis_url) as score, own as replica:
        await score.define()
        session = msgspec.convert({"results": [{"user_id": "ada", "score": 5}]}, SessionIn)
        session_id, game = uuid7(), await score.state["games"].get("demo")
        sent = Submission(game, session, session_id, period_of(session_id), fingerprint(session), None)
        before = counted("leaderboard_batches_total", outcome="committed")
        async with pool.acquire() as connection:
            await connection.execute("SELECT pg_advisory_lock(99)")
            committer = Committer(replica, retry_seconds=20, grace=timedelta(0))
            commit = asyncio.create_task(committer.commit([sent]))
            await wait_until(lambda: pool.fetchval(WAITING))
            primaries.note(seen[0].partition(":")[0] + ":FFFFFFFF")
            await connection.execute("SELECT pg_advisory_unlock(99)")
        # What it said of the commit was not believed, nor is it connected to again.
        await wait_until(lambda: counted("leaderboard_old_primary_total", pool="old") >= 2)
        assert not commit.done()
        clock.now += BELIEVED
        (outcome,) = await commit
    assert isinstance(outcome, Outcome)
    assert not outcome.replayed
    assert counted("leaderboard_batches_total", outcome="committed") == before + 1
    assert await pool.fetchval("SELECT sum(score) FROM entries") == 5
    assert await pool.fetchval("SELECT count(*) FROM session_results") == 1


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_replay_in_a_batch_that_is_tried_again_is_told_as_one(
    database_url: str, redis_url: str, pool: Pool
) -> None:
    session_id = str(uuid7())
    await pool.execute(
        """CREATE SEQUENCE tries;
           CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF NEW.user_id = 'cid' AND nextval('tries') = 1 THEN
                        RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF;
                    RETURN NEW; END $$;
           CREATE TRIGGER collide BEFORE INSERT ON session_results FOR EACH ROW EXECUTE FUNCTION collide()"""
    )
    async with score_service(database_url, redis_url) as score:
        await score.define()
        await score.post(("ada", 1), session_id=session_id)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(GATE)
            posts = [asyncio.create_task(score.post(("bob", 1)))]
            await wait_until(lambda: pool.fetchval(WAITING))
            # These two are the next batch.
            posts.append(asyncio.create_task(score.post(("cid", 1))))
            posts.append(asyncio.create_task(score.post(("ada", 1), session_id=session_id)))
            await asyncio.wait(posts, timeout=0)
        answers = await asyncio.gather(*posts)
    assert [replayed for _, replayed in answers] == [False, False, True]
    assert await pool.fetchval("SELECT last_value FROM tries") == 2
