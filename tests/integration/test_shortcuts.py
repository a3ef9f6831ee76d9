"""Short cuts of hot reads: the bytes of the ordinary way, or nothing, which leaves it to that."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Router
from starlette.types import Message

from rank_service.routes import direct, routes
from shared import http
from shared.asgi import Reply
from shared.direct import Find, PlainCall, Turn
from shared.errors import LeaderboardError
from shared.postgres import Pool
from tests.collector import collecting
from tests.rank import Rank, put_board, put_entries, rank_service
from tests.support import wait_until

BOARD = "/v1/games/demo/leaderboards/global"
SQL = Path(http.__file__).parent / "sql"
SCORES = [("ada", 50), ("bob", 50), ("cleo", 40), ("dan", 30), ("eve", 20)]


async def short(rank: Rank, path: str, lines: bytes = b"\r\n", find: Find = direct) -> Reply | None:
    """Take the short cut of a path to its end."""
    found = find(f"/v1/games/demo/leaderboards/{path}".encode())
    assert found is not None
    assert found.endpoint.short_cut is not None
    steps = found.endpoint.short_cut(PlainCall(found, rank.state, lines))
    result: Any = None
    while True:
        try:
            coalescer, item = steps.send(result)
        except StopIteration as end:
            reply: Reply | None = end.value
            return reply
        result = await coalescer.get(item)


async def both(rank: Rank, path: str) -> tuple[str, str]:
    """Return a body by the short cut, once it is open, and by the ordinary way, without the moment."""

    async def taken() -> tuple[Reply, httpx.Response] | None:
        usual = await rank.client.get(f"/v1/games/demo/leaderboards/{path}")  # asks for what is not known yet
        reply = await short(rank, path)
        return None if reply is None else (reply, usual)

    reply, usual = await wait_until(taken, timeout=5)
    assert usual.status_code == 200
    assert dict(reply.headers).get(b"etag", b"").decode() == usual.headers.get("etag", "")
    mine, other = (re.sub(r'"as_of":"[^"]+"', "", text) for text in (reply.body.decode(), usual.text))
    return mine, other


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
@pytest.mark.parametrize("named", [False, True])
async def test_a_short_cut_gives_the_very_bytes_of_the_ordinary_way(
    pool: Pool, database_url: str, redis_url: str, ties: str, named: bool
) -> None:
    await put_entries(pool, await put_board(pool, ties=ties), SCORES)
    if named:
        await pool.execute(
            "INSERT INTO users (game_id, user_id, display_name) SELECT game_id, 'cleo', 'Cléo' FROM games"
        )
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        paths = ["global/top", "global/top?limit=2&offset=1", "global/users/cleo", "global/users/ada"]
        for path in [*paths, "global/users/cleo/around", "global/users/eve/around?radius=1&season=current"]:
            mine, usual = await both(rank, path)
            assert mine == usual


UNUSUAL = (
    "global/users/zoe",
    "global/users/a~b",
    "global/users/zoe/around",
    "none/top",
    "old/top",
    "global/top?season=previous",
    "global/top?season=all",
    "global/top?limit=0",
    "cut/users/ada",
    "cut/top",
)


@pytest.mark.parametrize("path", UNUSUAL)
async def test_what_is_not_usual_is_left_to_the_ordinary_way(
    pool: Pool, database_url: str, redis_url: str, path: str
) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    await put_entries(pool, await put_board(pool, "cut", index_shards=2), SCORES)
    await put_board(pool, "old", status="building")
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        with suppress(LeaderboardError):  # is left to it as well
            assert await short(rank, path) is None


async def test_a_page_the_caller_has_is_not_sent_again(pool: Pool, database_url: str, redis_url: str) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        await both(rank, "global/top")
        page = await short(rank, "global/top")
        assert page is not None
        again = await short(rank, "global/top", b"\r\nif-none-match: %b\r\n" % dict(page.headers)[b"etag"])
        assert again is not None
        assert (again.status, again.body) == (304, b"")


class Sink(asyncio.Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def answered(sink: Sink) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", sink.written)]


async def test_bytes_are_recognised_as_a_request_only_where_one_begins(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        app: Any = Router(routes())
        app.direct = {b"GET": direct}
        config = http.configured(app, host="127.0.0.1", port=1, drain_seconds=1)
        config.load()
        protocol = http.Protocol(config=config, server_state=http.State(), app_state=dict(rank.state))
        sink = Sink()
        protocol.connection_made(sink)
        whole = b"GET %b/users/ada HTTP/1.1\r\nhost: x\r\n\r\n" % BOARD.encode()
        body = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(whole)
        # A body that looks like a request; a head one half of which does; one by itself; one too many.
        for pieces, statuses in (
            ((body, whole), [404]),
            ((b"GET /nowhere HTTP/1.1\r\nx: ", whole), [404]),
            ((whole,), [200]),
            ((whole, whole, whole), [200, 200, 200]),
        ):
            sink.written = b""
            for piece in pieces:
                protocol.data_received(piece)
            await wait_until(lambda wanted=statuses: answered(sink) == wanted)  # type: ignore[misc]
        protocol.connection_lost(None)


async def test_with_tracing_on_only_who_is_sampled_takes_the_ordinary_way(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    app: Any = Router(routes())
    app.direct = {b"GET": direct}
    with collecting() as collector:
        traced: Any = http.traced(app, "rank_service", collector.url, 10, SQL)
        async with rank_service(database_url, redis_url) as rank:
            await rank.ready()
            for path in ("global/top", "global/users/ada", "global/users/ada/around"):
                await both(rank, path)
                for flags, is_short in ((b"00", True), (b"01", False)):
                    lines = b"\r\ntraceparent: 00-%b-%b-%b\r\n" % (b"a" * 32, b"b" * 16, flags)
                    reply = await short(rank, path, lines, traced.direct[b"GET"])
                    assert (reply is not None) is is_short
        await traced({"type": "lifespan"}, stopping, sent)


async def stopping() -> Message:
    return {"type": "lifespan.shutdown"}


async def sent(_: Message) -> None:
    pass


async def test_who_hung_up_is_not_answered(pool: Pool, database_url: str, redis_url: str) -> None:
    await put_entries(pool, await put_board(pool), SCORES)
    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        found = direct(f"{BOARD}/users/ada".encode())
        assert found is not None
        await both(rank, "global/users/ada")
        turn = Turn()
        turn.hurry(None, found.endpoint, PlainCall(found, rank.state, b"\r\n"))  # type: ignore[arg-type]
        turn.disconnected = True
        assert await short(rank, "global/users/ada") is not None  # asked after it, in the same round trip
        assert not turn.response_complete
