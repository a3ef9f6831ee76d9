"""Redis lost, slow, flushed or behind: the answers stay exact, bounded, and never stale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from rank_service.fallback import Fallback
from rank_service.questions import Page, Places, Stood
from rank_service.shelf import TTL_MS
from rank_service.store import Store
from shared import profiles
from shared.errors import LeaderboardError
from shared.index import RankingIndex
from shared.names import leaderboard_key
from shared.postgres import IDENTITY, Pool
from shared.ranking import Board
from shared.wire import Wire
from tests.proxy import wire
from tests.rank import Rank, put_board, put_entries, rank_service
from tests.score import score_service
from tests.support import wait_until

TOP = "/leaderboards/global/top"
ADA = "/leaderboards/global/users/ada"


@pytest.fixture
async def board(pool: Pool) -> Board:
    board = await put_board(pool)
    await put_entries(pool, board, [("ada", 5), ("bob", 4)])
    return board


async def source(rank: Rank, path: str = TOP) -> str:
    return str((await rank.get(path))["source"])


async def test_a_lost_redis_costs_no_answer(database_url: str, redis_url: str, board: Board) -> None:
    async with wire(redis_url) as cable, rank_service(database_url, cable.url) as rank:
        await rank.ready()
        await cable.cut()
        assert (await rank.get(ADA))["source"] == "database"
        assert (await rank.get(TOP))["entries"][0]["user_id"] == "ada"
        await cable.heal()
        await wait_until(lambda: answered_by_index(rank))


async def answered_by_index(rank: Rank) -> bool:
    return await source(rank) == "index"


async def test_a_silent_redis_is_waited_for_no_longer_than_its_timeout(
    database_url: str, redis_url: str, board: Board
) -> None:
    async with (
        wire(redis_url) as cable,
        rank_service(database_url, cable.url, redis_timeout_ms=100) as rank,
    ):
        await rank.ready()
        cable.silent = True
        async with asyncio.timeout(3):
            answers = await asyncio.gather(*(rank.get(ADA) for _ in range(50)))
        assert {answer["source"] for answer in answers} == {"database"}


async def test_a_flushed_redis_is_loaded_again(
    database_url: str, redis_url: str, board: Board, redis: Redis
) -> None:
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        await redis.flushall()
        assert await source(rank) == "database"
        await rank.ready()


async def test_ranks_are_answered_without_postgres(database_url: str, redis_url: str, board: Board) -> None:
    async with wire(database_url) as cable, rank_service(cable.url, redis_url) as rank:
        await rank.ready()
        await rank.get(ADA)
        await cable.cut()
        assert (await rank.get(ADA))["entry"]["rank"] == 1
        assert await source(rank) == "index"
        assert (await rank.client.get("/readyz")).status_code == 200


async def test_without_both_stores_the_answer_is_a_clear_error(
    database_url: str, redis_url: str, board: Board
) -> None:
    async with (
        wire(database_url) as postgres,
        wire(redis_url) as valkey,
        rank_service(postgres.url, valkey.url) as rank,
    ):
        await rank.ready()
        await postgres.cut()
        await valkey.cut()
        reply = await rank.client.get(f"/v1/games/demo{TOP}")
        assert (reply.status_code, reply.json()["code"]) == (503, "upstream_unavailable")
        assert (await rank.client.get("/readyz")).status_code == 503


class Gate(Store):
    """A store whose queries wait, and are counted."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.gate = asyncio.Event()
        self.queries = 0

    async def _fetch(self, query: str, *args: Any) -> list[Any]:
        self.queries += 1
        await self.gate.wait()
        return await super()._fetch(query, *args)


@pytest.fixture
def gate(pool: Pool) -> Gate:
    return Gate(pool)


def places(board: Board, user_id: str) -> Places:
    return Places(board.ranking(0), board.game_id, (user_id,))


async def test_waiting_questions_share_a_query_and_join_none_under_way(gate: Gate, board: Board) -> None:
    fallback = Fallback(gate, lanes=1, queue=100)
    first = fallback.ask(places(board, "ada"))
    await wait_until(lambda: gate.queries == 1)
    page = Page(board.ranking(0), board.game_id, 0, 10)
    waiting = [fallback.ask(places(board, f"u{i}")) for i in range(40)]
    waiting += [fallback.ask(page) for _ in range(40)]
    gate.gate.set()
    await asyncio.gather(first, *waiting)
    assert gate.queries == 3


async def test_no_more_queries_run_at_once_than_there_are_lanes(gate: Gate, board: Board) -> None:
    fallback = Fallback(gate, lanes=2, queue=5)
    ranking = board.ranking(0)
    pages = []
    for i in range(7):
        pages.append(fallback.ask(Page(ranking, board.game_id, i, 10)))
        await asyncio.sleep(0)
    assert gate.queries == 2
    with pytest.raises(LeaderboardError) as error:
        fallback.ask(Page(ranking, board.game_id, 8, 10))
    assert (error.value.code, error.value.status) == ("overloaded", 503)
    gate.gate.set()
    await asyncio.gather(*pages)


async def test_a_query_that_fails_fails_only_its_own(gate: Gate, board: Board) -> None:
    fallback = Fallback(gate, lanes=1, queue=10)
    gate.gate.set()
    bad = fallback.ask(Page(board.ranking(0), board.game_id, -1, 10))  # Postgres refuses the offset
    good = fallback.ask(places(board, "ada"))
    with pytest.raises(Exception, match="OFFSET"):
        await bad
    answer = await good
    assert isinstance(answer, Stood)
    assert answer.total == 2


@asynccontextmanager
async def ready_rank(database_url: str, redis_url: str) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        yield rank


async def commit_unapplied(pool: Pool, board: Board, seconds: int) -> None:
    """Commit a new score that no one applies to the index, some seconds ago."""
    await put_entries(pool, board, [("bob", 9)])
    changes = [[board.leaderboard_id, board.generation, 0, ["bob"]]]
    await pool.execute(
        "INSERT INTO outbox (created_at, changes) VALUES (now() - $1 * interval '1 s', $2)",
        seconds,
        orjson.dumps(changes).decode(),
    )


async def test_writes_left_unapplied_send_reads_to_postgres(
    pool: Pool, database_url: str, redis_url: str, board: Board
) -> None:
    async with ready_rank(database_url, redis_url) as rank:
        await commit_unapplied(pool, board, seconds=2)
        leader = await wait_until(lambda: led_by(rank, "bob"), timeout=2)
        assert leader["source"] == "database"
        await pool.execute("DELETE FROM outbox")
        await wait_until(lambda: answered_by_index(rank), timeout=2)


async def led_by(rank: Rank, user_id: str) -> Any:
    page = await rank.get(TOP)
    return page if page["entries"][0]["user_id"] == user_id else None


async def test_other_leaderboards_are_not_held_up(
    pool: Pool, database_url: str, redis_url: str, board: Board
) -> None:
    await put_board(pool, "other")
    async with ready_rank(database_url, redis_url) as rank:
        await rank.ready("other")
        await commit_unapplied(pool, board, seconds=2)
        await wait_until(lambda: led_by(rank, "bob"), timeout=2)
        assert await source(rank, "/leaderboards/other/top") == "index"


async def test_too_many_late_writes_make_every_index_suspect(
    pool: Pool, database_url: str, redis_url: str, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rank_service.worker.LATE_BATCHES", 1)
    await put_board(pool, "other")
    async with ready_rank(database_url, redis_url) as rank:
        await rank.ready("other")
        await commit_unapplied(pool, board, seconds=2)

        async def suspected() -> bool:
            return await source(rank, "/leaderboards/other/top") == "database"

        await wait_until(suspected, timeout=2)


def test_the_watch_and_the_index_name_rankings_alike() -> None:
    ranking = Board(3, 1, "b", 2, None, "sum", "desc", "first", None, "UTC", None, 0, 1, "ready").ranking(7)
    assert ranking.name == f"lb:{leaderboard_key(3, 2, 7)}"


async def test_an_answered_write_is_read_at_once(database_url: str, redis_url: str) -> None:
    async with score_service(database_url, redis_url) as score, rank_service(database_url, redis_url) as rank:
        await score.define()
        totals: dict[str, int] = {}

        async def play(user: str) -> None:
            for _ in range(250):
                await score.post((user, 1))
                totals[user] = totals.get(user, 0) + 1
                mine = totals[user]
                page, entry = await asyncio.gather(
                    rank.get(TOP), rank.get(f"/leaderboards/global/users/{user}")
                )
                shown = {each["user_id"]: each["score"] for each in page["entries"]}
                assert shown[user] == mine
                assert entry["entry"]["score"] == mine

        await asyncio.gather(*(play(f"u{i}") for i in range(8)))
        assert sum(totals.values()) == 2000


async def test_replicas_with_one_redis_answer_alike(database_url: str, redis_url: str, redis: Redis) -> None:
    async with (
        score_service(database_url, redis_url) as score,
        rank_service(database_url, redis_url) as one,
        rank_service(database_url, redis_url) as two,
    ):
        await score.define()
        for turn in range(1, 60):
            user = f"u{turn % 7}"
            await score.post((user, turn))
            if turn % 20 == 0:
                await redis.flushdb()
            for path in (TOP, f"/leaderboards/global/users/{user}/around?radius=10"):
                pages = await asyncio.gather(one.get(path), two.get(path))
                assert pages[0]["entries"] == pages[1]["entries"]
                assert sum(entry["score"] for entry in pages[0]["entries"]) == turn * (turn + 1) // 2


async def test_a_new_name_is_read_at_once(
    pool: Pool, database_url: str, redis_url: str, board: Board
) -> None:
    connection = Wire(redis_url, timeout=1)
    await pool.execute("INSERT INTO users VALUES ($1, 'ada')", board.game_id)
    async with ready_rank(database_url, redis_url) as rank:
        for _ in range(5):  # until it is known that nobody has a name here
            assert (await rank.get(ADA))["entry"]["display_name"] is None
        for name in map(str, range(1, 60)):
            await pool.execute("UPDATE users SET display_name = $1", name)
            await profiles.invalidate(connection, board.game_id, ["ada"])
            assert (await rank.get(TOP))["entries"][0]["display_name"] == name
            assert (await rank.get(ADA))["entry"]["display_name"] == name
            assert (await rank.get(f"{ADA}/around"))["entry"]["display_name"] == name
    await connection.close()


async def test_while_loading_an_answer_is_kept_until_the_next_apply(
    pool: Pool, database_url: str, redis_url: str, board: Board, redis: Redis
) -> None:
    connection = Wire(redis_url, timeout=1)
    async with rank_service(database_url, redis_url) as rank:
        index = RankingIndex(connection, idle_ms=60_000)
        index.database_identity = await pool.fetchval(IDENTITY)
        assert (await index.begin(board.ranking(0)))[0] == "mine"  # and never finished
        paths = [TOP, ADA, f"{ADA}/around", "/leaderboards/global/rank?score=1"]
        paths.append("/leaderboards/global/distribution")
        first = [await rank.get(path) for path in paths]
        again = [await rank.get(path) for path in paths]
        assert [answer["source"] for answer in first] == ["database"] * len(paths)
        assert again == first, "the moment it is as of included"
        kept = await redis.keys("{lb:*}:s:*")
        assert len(kept) == len(paths)
        assert all([0 < await redis.pttl(key) <= TTL_MS for key in kept])
        for key in kept:
            value: Any = await redis.get(key)
            await redis.set(key, value.replace(b"ada", b"\x98da"), keepttl=True)  # no UTF-8
        spoilt = [await rank.get(path) for path in paths]
        assert [answer["total"] for answer in spoilt] == [answer["total"] for answer in first]
        entries = await put_entries(pool, board, [("bob", 9)])
        await index.send([index.apply(board.ranking(0), entries)])
        assert (await rank.get(TOP))["entries"][0]["user_id"] == "bob"
        assert (await rank.get(ADA))["entry"]["rank"] == 2
    await connection.close()
