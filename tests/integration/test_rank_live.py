"""Streams: a snapshot on joining, then what changed, the same bytes to all, no one waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from redis.asyncio import Redis
from starlette.routing import Router

from rank_service import live, worker
from rank_service.routes import routes
from rank_service.rules import View
from shared import profiles
from shared.events import CHANNEL, ProfileChanged, encode
from shared.postgres import Pool
from shared.wire import Wire
from tests.proxy import wire
from tests.rank import Rank, put_board, rank_service
from tests.score import Score, score_service
from tests.support import wait_until

STREAM = "/v1/games/demo/leaderboards/global/stream"


class Reader:
    """One open stream, spoken to as a server speaks to an application."""

    def __init__(self) -> None:
        self.status = 0
        self.raw = b""
        self.ended = False
        self.slow = False
        self.gone = asyncio.Event()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self.slow:
            await asyncio.Event().wait()
        self.raw += message["body"]
        if not message.get("more_body"):
            self.ended = True
            self.gone.set()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    def events(self, name: str) -> list[Any]:
        """The data of the events of one name, so far."""
        found = []
        for block in self.raw.split(b"\n\n"):
            lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
            if lines.get(b"event") == name.encode():
                found.append({**orjson.loads(lines[b"data"]), "id": lines.get(b"id", b"").decode()})
        return found

    async def event(self, name: str, count: int = 1) -> Any:
        """Return the newest event of one name, once there are `count`."""
        return (await wait_until(lambda: len(found := self.events(name)) >= count and found))[-1]


@asynccontextmanager
async def reading(rank: Rank, path: str = STREAM, **headers: str) -> AsyncIterator[Reader]:
    """Open a stream for the length of the block."""
    reader = Reader()
    url = urlsplit(path)
    scope = {
        "type": "http",
        "method": "GET",
        "path": url.path,
        "query_string": url.query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "state": rank.state,
    }
    app = Router(routes(), redirect_slashes=False)
    task = asyncio.create_task(app(scope, reader.receive, reader.send))
    try:
        await wait_until(lambda: reader.status or task.done())
        yield reader
    finally:
        reader.gone.set()
        async with asyncio.timeout(5):
            await task


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    async with score_service(database_url, redis_url) as score:
        await score.define()
        yield score


@pytest.fixture
async def rank(database_url: str, redis_url: str, score: Score) -> AsyncIterator[Rank]:
    async with rank_service(database_url, redis_url, rank_streams=40) as rank:
        await rank.ready()
        yield rank


async def test_a_reader_gets_the_page_and_then_every_change(score: Score, rank: Rank) -> None:
    async with reading(rank) as reader:
        assert (await reader.event("top"))["entries"] == []
        await score.post(("ada", 5))
        page = await reader.event("top", 2)
        assert [(entry["user_id"], entry["score"]) for entry in page["entries"]] == [("ada", 5)]
        assert page == {
            **await rank.get("/leaderboards/global/top"),
            "id": page["id"],
            "as_of": page["as_of"],
        }


async def test_a_burst_of_changes_makes_few_snapshots(score: Score, rank: Rank) -> None:
    async with reading(rank) as reader:
        await reader.event("top")
        began = time.monotonic()
        for i in range(50):
            await score.post(("ada", i))
        await wait_until(lambda: reader.events("top")[-1]["total"] == 1)
        await wait_until(lambda: reader.events("top")[-1]["entries"][0]["score"] == sum(range(50)))
        # Ten a second at most, the one at the start and the one at the end.
        assert len(reader.events("top")) <= 2 + 10 * (time.monotonic() - began)


async def test_everyone_gets_the_same_bytes(score: Score, rank: Rank) -> None:
    async with reading(rank) as one, reading(rank) as two:
        await score.post(("ada", 5))
        await one.event("top", 2)
        await two.event("top", 2)
        assert one.raw.split(b"\n\n")[1] == two.raw.split(b"\n\n")[1]


async def test_a_reader_who_has_the_page_is_not_sent_it_again(score: Score, rank: Rank) -> None:
    await score.post(("ada", 5))
    async with reading(rank) as reader:
        seen = (await reader.event("top"))["id"]
    async with reading(rank, last_event_id=seen) as reader:
        await score.post(("bob", 9))
        assert (await reader.event("top"))["total"] == 2
        assert len(reader.events("top")) == 1


async def test_a_watched_user_is_told_of_being_overtaken(score: Score, rank: Rank) -> None:
    await score.post(("ada", 5), ("bob", 3), ("cid", 1))
    async with reading(rank, f"{STREAM}?user_id=ada") as reader:
        first = (await reader.event("entry"))["entry"]
        assert (first["rank"], first["previous_rank"], first["overtaken_by"]) == (1, None, [])
        await score.post(("bob", 4))
        event = await reader.event("entry", 2)
        entry = event["entry"]
        assert (entry["rank"], entry["previous_rank"], entry["overtaken_by"]) == (2, 1, ["bob"])
        assert (entry["percentile"], event["total"]) == (pytest.approx(200 / 3), 3)
        await score.post(("ada", 9))
        entry = (await reader.event("entry", 3))["entry"]
        assert (entry["rank"], entry["previous_rank"], entry["overtaken_by"]) == (1, 2, [])


async def test_a_watched_rank_is_looked_at_once_in_a_while(
    score: Score, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ENTRY_PAUSE", 30.0)
    await score.post(("ada", 5), ("bob", 1))
    async with reading(rank, f"{STREAM}?user_id=ada") as reader:
        await reader.event("entry")
        await score.post(("bob", 9))
        await reader.event("entry", 2)
        for score_of_bob in range(20, 40):
            await score.post(("ada", 10), ("bob", score_of_bob - 9))
        await wait_until(lambda: reader.events("top")[-1]["entries"][1]["score"] == 205)
        assert len(reader.events("entry")) == 2


async def test_a_user_not_ranked_yet_is_told_once_they_are(score: Score, rank: Rank) -> None:
    async with reading(rank, f"{STREAM}?user_id=ada") as reader:
        await reader.event("top")
        assert reader.events("entry") == []
        await score.post(("ada", 5))
        assert (await reader.event("entry"))["entry"]["rank"] == 1


async def test_a_hidden_user_is_told_too(pool: Pool, score: Score, rank: Rank, redis: Redis) -> None:
    await score.post(("ada", 5))
    async with reading(rank, f"{STREAM}?user_id=ada") as reader:
        await reader.event("entry")
        await pool.execute("UPDATE entries SET hidden = true, version = nextval('entry_version')")
        await redis.delete(*await redis.keys("{lb:*"))
        rank.state["live"].notice_all()
        assert (await reader.event("entry", 2))["entry"] is None


async def test_a_slow_reader_is_cut_off_and_no_one_waits(score: Score, rank: Rank) -> None:
    async with reading(rank) as slow, reading(rank) as quick:
        await slow.event("top")
        await quick.event("top")
        slow.slow = True
        await score.post(("ada", 5))
        assert (await quick.event("top", 2))["total"] == 1
        await score.post(("ada", 5))
        await quick.event("top", 3)
        assert len(slow.events("top")) == 1


async def test_streams_are_bounded(score: Score, rank: Rank) -> None:
    async with AsyncReaders(rank, 40):
        reply = await rank.client.get(STREAM)
        assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
        assert int(reply.headers["retry-after"]) > 0
    async with reading(rank) as reader:
        await reader.event("top")


class AsyncReaders:
    """Many streams at once."""

    def __init__(self, rank: Rank, count: int) -> None:
        self._opened = [reading(rank) for _ in range(count)]

    async def __aenter__(self) -> list[Reader]:
        readers = [await opened.__aenter__() for opened in self._opened]
        for reader in readers:
            await reader.event("top")
        return readers

    async def __aexit__(self, *_: object) -> None:
        for opened in self._opened:
            await opened.__aexit__(None, None, None)


async def test_a_shutdown_ends_streams_also_those_that_begin_meanwhile(rank: Rank) -> None:
    for _ in range(2):
        async with reading(rank) as reader:
            await reader.event("top")
            rank.state["live"].end()
            rank.state["live"].end()
            await wait_until(lambda reader=reader: reader.ended)  # type: ignore[misc]


async def test_silence_is_broken_by_heartbeats(rank: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rank_service.live.HEARTBEAT", 0.0)
    monkeypatch.setattr("rank_service.live.POLL", 0.01)
    async with reading(rank) as reader:
        await wait_until(lambda: b"\n:\n" in reader.raw)


async def test_a_change_without_an_event_is_seen_by_looking(
    score: Score, rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rank_service.live.POLL", 0.05)
    async with reading(rank) as reader:
        await reader.event("top")
        monkeypatch.setattr(type(rank.state["live"]), "notice", lambda *_: None)
        await score.post(("ada", 5))
        assert (await reader.event("top", 2))["total"] == 1


@pytest.fixture
def events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams look when they hear an event, and silence is noticed sooner than it is in earnest."""
    monkeypatch.setattr(live, "POLL", 600.0)
    for name, seconds in {"PULSE": 0.1, "SILENCE": 0.5, "CONNECT_SECONDS": 0.5}.items():
        monkeypatch.setattr(worker, name, seconds, raising=False)


@pytest.mark.usefixtures("events_only")
async def test_a_subscription_that_is_dead_without_a_word_is_noticed_and_made_anew(
    database_url: str, redis_url: str, score: Score
) -> None:
    async with wire(redis_url) as cable, rank_service(database_url, cable.url) as rank:
        await rank.ready()
        async with reading(rank) as reader:
            await reader.event("top")
            cable.hush()
            for turn in range(1, 4):
                await score.post(("ada", 1))
                await wait_until(lambda turn=turn: shown_score(reader) == turn)  # type: ignore[misc]


@pytest.mark.usefixtures("events_only")
async def test_subscribing_to_a_server_that_says_nothing_is_given_up_and_tried_again(
    database_url: str, redis_url: str, score: Score
) -> None:
    async with wire(redis_url) as cable, rank_service(database_url, cable.url) as rank:
        await rank.ready()
        async with reading(rank) as reader:
            await reader.event("top")
            silent = worker.LOST.labels("silent")
            before = silent._value.get()
            cable.silent = True
            await wait_until(lambda: silent._value.get() >= before + 2)
            await score.post(("ada", 1))
            cable.hush()
            await cable.heal()
            await wait_until(lambda: shown_score(reader) == 1)


def shown_score(reader: Reader) -> int:
    entries = reader.events("top")[-1]["entries"]
    return int(entries[0]["score"]) if entries else 0


async def test_a_changed_name_makes_a_new_page(
    pool: Pool, score: Score, rank: Rank, redis: Redis, redis_url: str
) -> None:
    await score.post(("ada", 5))
    game = await score.state["games"].get("demo")
    connection = Wire(redis_url, timeout=1)
    async with reading(rank) as reader:
        await reader.event("top")
        await pool.execute("UPDATE users SET display_name = 'Ada'")
        await profiles.invalidate(connection, game.game_id, ["ada"])
        await redis.publish(CHANNEL, encode(ProfileChanged(game.game_id, "ada")))
        page = await wait_until(lambda: named(reader.events("top")[-1], "Ada"))
        assert page["total"] == 1
    await connection.close()


def named(page: Any, name: str) -> Any:
    return page if page["entries"] and page["entries"][0]["display_name"] == name else None


async def test_a_leaderboard_that_is_dropped_ends_no_process(pool: Pool, rank: Rank) -> None:
    board = await put_board(pool, "short")
    async with reading(rank, STREAM.replace("global", "short")) as reader:
        await reader.event("top")
        await pool.execute("DELETE FROM leaderboards WHERE leaderboard_id = $1", board.leaderboard_id)
        rank.state["games"].forget("demo")
        rank.state["live"].notice_all()
        async with reading(rank) as other:
            await other.event("top")


async def test_who_waits_for_a_first_page_is_not_forgotten_when_another_goes_away(rank: Rank) -> None:
    """Their channel must stay the one that is told of changes, and of the end."""
    lives, door = rank.state["live"], asyncio.Event()

    async def find() -> View:
        await door.wait()
        return await rank.state["seasons"].find(await rank.state["games"].board("demo", "global"), "current")

    readers = [Reader(), Reader()]
    staying, going = (
        asyncio.create_task(lives.serve(("demo", "global", "current", 10), find, "", b"", r.receive, r.send))
        for r in readers
    )
    await wait_until(lambda: lives.open == 2)
    going.cancel()
    await asyncio.wait([going])
    door.set()
    await readers[0].event("top")
    lives.end()
    await asyncio.wait([staying], timeout=5)
    assert readers[0].ended
