"""Many requests on one connection between the gateway and a service: the answers of the ordinary way."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.server import ServerState

from gateway import peer
from gateway.mux import Mux
from gateway.peer import Peer
from gateway.upstream import Upstream
from gateway.wire import Headers
from shared.asgi import Call, Endpoint, Reply
from shared.direct import Direct
from shared.framed import Framed
from shared.frames import ACCEPTED, ASK, HEAD, MAX_ANSWER, MAX_NUMBER, MAX_REQUEST, Splitter, frame
from shared.postgres import Pool
from tests.doors import OK, Service, running_gateway
from tests.processes import process
from tests.rank import put_board, put_entries
from tests.support import wait_until

BOARD = "/v1/games/demo/leaderboards/global"
PATHS = [
    f"{BOARD}/users/ada",
    f"{BOARD}/users/nobody",
    f"{BOARD}/users/bob/around?radius=1",
    f"{BOARD}/users/bob/around?radius=x",
    f"{BOARD}/top",
    f"{BOARD}/top?limit=1&offset=1",
    f"{BOARD}/top?limit=0",
    f"{BOARD}/top?season=5",
    "/v1/games/none/leaderboards/global/top",
]
Fate = tuple[int, bytes] | str


class Ask:
    """One request on a shared connection, told of its fate."""

    def __init__(self, mux: Mux, target: str, lines: str = "", body: str = "") -> None:
        self.mux = mux
        self.fate: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()
        self.headers: Headers = []
        method = "POST" if body else "GET"
        length = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{method} {target} HTTP/1.1\r\nhost: x\r\nx-scope: read\r\n{lines}{length}\r\n"
        self.number = mux.send(self, (head + body).encode())

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.fate.set_result((status, body))

    def turned_away(self) -> None:
        self.fate.set_result("turned away")

    def lost(self, *, odd: bool) -> None:
        self.fate.set_result("odd" if odd else "unsent" if self.mux.is_unsent else "lost")


class Pool1(Upstream):
    """A service at one address."""

    def __init__(self, port: int, shared: int = 100) -> None:
        url = f"http://127.0.0.1:{port}"
        super().__init__("x", url, connections=8, waiting=9, streams=9, shared=shared)

    async def mux(self) -> Mux:
        """Return the shared connection, once it is open."""

        async def opened() -> Mux | None:
            await self.probe()
            return self.shared()

        mux: Mux = await wait_until(opened)
        return mux

    @property
    def peer(self) -> Peer:
        return self.peers[0]


@asynccontextmanager
async def upstream(port: int | None, shared: int = 100) -> AsyncIterator[Pool1]:
    assert port is not None
    pool = Pool1(port, shared)
    await pool.resolve()
    yield pool
    await pool.close()


Serve = Callable[[asyncio.StreamWriter, int, bytes], Awaitable[None]]


@asynccontextmanager
async def speaker(serve: Serve) -> AsyncIterator[int]:
    """Play a service that speaks frames, of whatever kind; yield its port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(ACCEPTED if head == ASK else OK)
        splitter = Splitter(MAX_REQUEST)
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while head == ASK and (data := await reader.read(65_536)):
                for number, payload in splitter.feed(data):
                    await serve(writer, number, payload)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def rank(pool: Pool, database_url: str, redis_url: str) -> AsyncIterator[tuple[Any, httpx.AsyncClient]]:
    await put_entries(pool, await put_board(pool), [("ada", 50), ("bob", 50), ("cleo", 40)])
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LEAVE_SECONDS": "30"}
    async with process("rank", **settings) as (running, client):

        async def is_loaded() -> bool:
            source: str = (await client.get(f"{BOARD}/top")).json()["source"]
            return source == "index"

        await wait_until(is_loaded)
        yield running, client


def without_moment(body: bytes) -> bytes:
    before, _, after = body.partition(b'"as_of":')
    return before + after[40:]


async def test_what_is_asked_together_is_answered_as_if_asked_alone(rank: Any) -> None:
    _, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        asked = [Ask(mux, path) for path in PATHS * 20]
        for ask, path in zip(asked, PATHS * 20, strict=True):
            alone = await client.get(path)
            fate = await ask.fate
            assert isinstance(fate, tuple)
            assert (fate[0], without_moment(fate[1])) == (alone.status_code, without_moment(alone.content)), (
                path
            )
            names = {name.decode() for name, _ in ask.headers} - {"content-length"}
            assert names == set(alone.headers) - {"content-length"}
        assert len(service.peer.wires) == mux.in_flight == service.peer.in_flight == 0


async def test_a_page_that_has_not_changed_is_not_sent_again(rank: Any) -> None:
    _, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        etag = (await client.get(f"{BOARD}/top")).headers["etag"]
        assert await Ask(mux, f"{BOARD}/top", f"if-none-match: {etag}\r\n").fate == (304, b"")


UNUSUAL = [
    (f"{BOARD}/stream", "", ""),
    (f"{BOARD}/users/%61da", "", ""),
    (f"{BOARD}/export", "", ""),
    ("/metrics", "", ""),
    (f"{BOARD}/top", "transfer-encoding: chunked\r\n", ""),
    (f"{BOARD}/top", "connection: close\r\n", ""),
    (f"{BOARD}/top", "content-length: 3\r\n", ""),
    (f"{BOARD}/top", " folded\r\n", ""),
    (f"{BOARD}/lookup", "content-type: application/json\r\n", '{"user_ids":["ada"]}'),
    (f"{BOARD}/top HTTP/1.1\r\nhost: x\r\n\r\nGET {BOARD}/top", "", ""),
    (f"{BOARD}/top\x00", "", ""),
]


async def test_what_is_unusual_is_turned_away_and_nothing_else_with_it(rank: Any) -> None:
    _, client = rank
    for target, lines, body in UNUSUAL:
        async with upstream(client.base_url.port) as service:
            mux = await service.mux()
            asked = [Ask(mux, f"{BOARD}/top"), Ask(mux, target, lines, body), Ask(mux, f"{BOARD}/top")]
            first, second, third = [await ask.fate for ask in asked]
            assert second == "turned away", target
            assert first[0] == third[0] == 200
            assert mux.in_flight == 0


async def test_a_session_is_recorded_once_and_what_breaks_a_rule_is_named(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_board(pool)
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    session = '{"session_id":"019935a0-0000-7000-8000-000000000001","results":[{"user_id":"ada","score":%s}]}'
    kind = "content-type: application/json\r\n"
    async with process("score", **settings) as (_, client), upstream(client.base_url.port) as service:
        mux = await service.mux()
        path = "/v1/games/demo/sessions"
        asked = [Ask(mux, path, kind, session % score) for score in (5, 5, 6, '"x"')]
        statuses = [(await ask.fate)[0] for ask in asked]
        assert sorted(statuses[:3]) == [200, 201, 409]
        assert statuses[3] == 422
        assert await Ask(mux, path, "", session % 5).fate == (
            415,
            (await asked_alone(client, path, session % 5)),
        )
    assert await pool.fetchval("SELECT score FROM entries") in (5, 6)


async def asked_alone(client: httpx.AsyncClient, path: str, body: str) -> bytes:
    return (await client.post(path, content=body.encode())).content


async def test_an_answer_nobody_wants_any_more_frees_its_place(
    pool: Pool, rank: Any, database_url: str
) -> None:
    _, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        asked = [Ask(mux, path) for path in PATHS]
        for ask in asked[::2]:
            mux.abandon(ask.number)
            mux.abandon(ask.number)
        await asyncio.gather(*(ask.fate for ask in asked[1::2]))
        await wait_until(lambda: mux.in_flight == 0)
        assert not any(ask.fate.done() for ask in asked[::2])
        assert service.peer.in_flight == 0


async def test_a_stopping_service_answers_what_it_took_and_is_asked_no_more(rank: Any) -> None:
    running, client = rank
    await client.aclose()
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        running.send_signal(signal.SIGTERM)

        async def is_leaving() -> bool:
            await service.probe()
            return service.peer.leaving

        asked = [Ask(mux, f"{BOARD}/top") for _ in range(50)]
        await wait_until(is_leaving)
        assert {(await ask.fate)[0] for ask in asked} == {200}
        assert service.shared() is None
        async with asyncio.timeout(10):  # long before LEAVE_SECONDS: nobody is connected
            await running.wait()


async def test_a_killed_service_loses_what_was_sent_and_only_that(rank: Any) -> None:
    running, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        running.send_signal(signal.SIGSTOP)
        sent = [Ask(mux, f"{BOARD}/top") for _ in range(3)]
        await asyncio.sleep(0)  # the end of this turn
        await asyncio.sleep(0)
        running.send_signal(signal.SIGKILL)
        assert [await ask.fate for ask in sent] == ["lost"] * 3
        assert service.shared() is None
        assert service.peer.in_flight == 0


async def test_what_had_not_left_when_the_connection_ended_is_known(rank: Any) -> None:
    _, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        mux.transport.abort()
        assert await Ask(mux, f"{BOARD}/top").fate == "unsent"


@pytest.mark.parametrize(
    "answer",
    [
        lambda number: frame(number + 7, b""),
        lambda number: frame(number, OK) * 2,
        lambda number: frame(number, OK + OK),
        lambda number: frame(number, OK[:-1]),
        lambda number: frame(number, b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda number: frame(number, b"nonsense"),
        lambda _: HEAD.pack(2**31, 1),
        lambda _: OK,
    ],
    ids=["another's", "twice", "two in one", "half", "not final", "no HTTP", "too long", "no frame"],
)
async def test_an_answer_that_makes_no_sense_ends_the_connection(answer: Callable[[int], bytes]) -> None:
    async def serve(writer: asyncio.StreamWriter, number: int, _: bytes) -> None:
        if number == 1:
            writer.write(answer(number))

    async with speaker(serve) as port, upstream(port) as service:
        mux = await service.mux()
        asked = [Ask(mux, "/a"), Ask(mux, "/b")]
        fates = [await ask.fate for ask in asked]
        assert fates[1] == "odd"
        assert fates[0] in ("odd", (200, b"{}"))  # its own, whole, before the oddity
        await wait_until(lambda: service.peer.mux is not mux)
        assert service.peer.in_flight == 0


async def test_what_is_too_much_at_once_gets_connections_of_its_own() -> None:
    async def never(_: asyncio.StreamWriter, __: int, ___: bytes) -> None:
        """Answer nothing."""

    async with speaker(never) as port, upstream(port, shared=2) as service:
        mux = await service.mux()
        for _ in range(2):
            assert service.shared() is mux
            Ask(mux, "/a")
        assert service.shared() is None
        mux.abandon(1)
        assert service.shared() is None  # its answer may still come


async def test_an_address_that_hangs_is_left_and_gets_a_new_connection(
    rank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "SHARE_SECONDS", 0.1)
    running, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        running.send_signal(signal.SIGSTOP)
        ask = Ask(mux, f"{BOARD}/top")
        service.eject(service.peer, "a test")
        assert service.shared() is None
        mux.abandon(ask.number)
        running.send_signal(signal.SIGCONT)
        assert await service.mux() is not mux


async def test_when_the_numbers_are_spent_there_is_a_new_connection(
    rank: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "SHARE_SECONDS", 0.1)
    _, client = rank
    async with upstream(client.base_url.port) as service:
        mux = await service.mux()
        mux._last = MAX_NUMBER - 1
        last = Ask(mux, f"{BOARD}/top")
        assert service.shared() is None
        assert await service.mux() is not mux
        assert (await last.fate)[0] == 200
        await wait_until(mux.transport.is_closing)


async def test_answers_that_are_not_read_hold_requests_back() -> None:
    taken: asyncio.Queue[bytes] = asyncio.Queue()

    async def large(_: Call) -> Reply:
        return Reply(200, b"x" * 1_000_000)

    def find(url: bytes) -> Direct:
        taken.put_nowait(url)
        return Direct(Endpoint(large), {}, b"")

    loop = asyncio.get_running_loop()
    framed = Framed({b"GET": find}, None, ServerState())
    async with await loop.create_server(lambda: framed, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100:
                sent += 1
                writer.write(frame(sent, b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % sent))
                await asyncio.wait_for(taken.get(), timeout=1)
        assert sent < 100, "a hundred megabytes wait"
        splitter, answered = Splitter(MAX_ANSWER), 0
        while answered < sent:
            answered += len(splitter.feed(await reader.read(65_536)))
        assert taken.qsize() == 1
        writer.close()
        await wait_until(lambda: not framed._connections)


async def test_a_gateway_uses_it_and_does_without(tmp_path: Path, rank: Any) -> None:
    _, client = rank
    with Service() as plain:
        for url, at_once in ((str(client.base_url), 1024), (str(client.base_url), 0), (plain.url, 1024)):
            settings = {
                "RANK_URL": url.rstrip("/"),
                "PUBLIC_GAMES": "demo",
                "MAX_UPSTREAM_SHARED": str(at_once),
            }
            with running_gateway(tmp_path, **settings) as gateway:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as outside:
                    replies = await asyncio.gather(*(outside.get(path) for path in PATHS * 5))
            wanted = [200, 404, 200, 422, 200, 200, 422, 404, 401]
            if url == plain.url:
                wanted = [200] * 8 + [401]
            assert [reply.status_code for reply in replies] == wanted * 5, [reply.text for reply in replies]
