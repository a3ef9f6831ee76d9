"""Streams through the gateway: unbuffered, one upstream stream per board, nobody waits for the slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.doors import Client, Gateway, Service, running_gateway, wait_for

STREAM = "/v1/games/demo/leaderboards/global/stream"
EXPORT = "/v1/games/demo/leaderboards/global/export"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Board:
    """Plays the service's side of streams: a first event on opening, then what it is told to say."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.left = 0
        self.over = asyncio.Event()

    async def answer(self, _: bytes, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(HEAD + chunk(b"event: top\nid: 1\ndata: first\n\n"))
        try:
            await self.over.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        writer.write(b"0\r\n\r\n")

    def say(self, service: Service, data: bytes) -> None:
        for writer in self.writers:
            service.loop.call_soon_threadsafe(writer.write, data)


@pytest.fixture(scope="module")
def shared_service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(
        folder,
        RANK_URL=shared_service.url,
        PUBLIC_GAMES="demo",
        REQUEST_DEADLINE_MS="500",
        STREAM_SECONDS="2",
    ) as gateway:
        yield gateway


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def service(shared_service: Service, board: Board) -> Service:
    shared_service.seen.clear()
    shared_service.closed = 0
    shared_service.answer = board.answer
    return shared_service


def listen(gateway: Gateway, target: str = STREAM, headers: str = "") -> Client:
    client = gateway.client()
    client.send(gateway.request("GET", target, key=None, headers=headers))
    assert client.line() == b"HTTP/1.1 200 OK\r\n"
    while client.line() != b"\r\n":
        pass
    return client


def heard(client: Client) -> bytes:
    """One chunk of the answer; empty when the connection is cut."""
    size = client.line()
    data = client.exactly(int(size, 16)) if size else b""
    client.line()
    return data


def test_a_stream_passes_while_it_goes_on(gateway: Gateway, service: Service, board: Board) -> None:
    with listen(gateway) as client:
        assert heard(client) == b"event: top\nid: 1\ndata: first\n\n"
        board.say(service, chunk(b": heartbeat\n\n"))
        assert heard(client) == b": heartbeat\n\n"


def test_many_listeners_share_one_stream_and_late_ones_are_greeted(
    gateway: Gateway, service: Service, board: Board
) -> None:
    listeners = [listen(gateway) for _ in range(5)]
    assert {heard(client) for client in listeners} == {b"event: top\nid: 1\ndata: first\n\n"}
    board.say(service, chunk(b"event: top\nid: 2\ndata: second\n\n"))
    assert {heard(client) for client in listeners} == {b"event: top\nid: 2\ndata: second\n\n"}
    with listen(gateway) as late:
        assert heard(late) == b"event: top\nid: 2\ndata: second\n\n"
    assert len(service.seen) == 1
    for client in listeners:
        client.__exit__()


def test_an_event_in_pieces_is_passed_on_whole(gateway: Gateway, service: Service, board: Board) -> None:
    with listen(gateway) as client:
        heard(client)
        board.say(service, chunk(b"event: season\nda"))
        board.say(service, chunk(b"ta: x\n\nevent: entry\n"))
        assert heard(client) == b"event: season\ndata: x\n\n"


def test_the_last_listener_to_leave_closes_the_stream(
    gateway: Gateway, service: Service, board: Board
) -> None:
    first, second = listen(gateway), listen(gateway)
    first.__exit__()
    board.say(service, chunk(b": still here\n\n"))
    heard(second)
    assert heard(second) == b": still here\n\n"
    assert board.left == 0
    second.__exit__()
    wait_for(lambda: board.left == 1)


def test_a_listener_for_one_user_has_a_stream_of_its_own(gateway: Gateway, service: Service) -> None:
    position = "last-event-id: 7\r\n"
    with listen(gateway, f"{STREAM}?user_id=ada", position), listen(gateway, f"{STREAM}?user_id=bob"):
        assert len(service.seen) == 2
    assert b"last-event-id: 7\r\n" in service.seen[0]


def test_the_position_of_one_listener_is_not_the_others(gateway: Gateway, service: Service) -> None:
    with listen(gateway, STREAM, "last-event-id: 7\r\n"):
        assert b"last-event-id" not in service.seen[0]


def test_a_broken_stream_is_cut_for_all_so_that_they_come_again(
    gateway: Gateway, service: Service, board: Board
) -> None:
    listeners = [listen(gateway) for _ in range(3)]
    for client in listeners:
        heard(client)
    service.loop.call_soon_threadsafe(board.writers[0].transport.abort)
    for client in listeners:
        assert client.is_closed()
        client.__exit__()
    with listen(gateway) as again:
        assert heard(again)


def test_a_stream_that_ends_ends_for_all(gateway: Gateway, service: Service, board: Board) -> None:
    with listen(gateway) as one, listen(gateway) as two:
        service.loop.call_soon_threadsafe(board.over.set)
        for client in (one, two):
            heard(client)
            assert client.line() == b"0\r\n"


def test_a_refused_stream_is_refused_for_all(gateway: Gateway, service: Service) -> None:
    async def refuse(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}")

    service.answer = refuse
    assert gateway.call("GET", STREAM, key=None).status == 404
    assert gateway.call("GET", STREAM, key=None).status == 404


def test_a_stream_that_does_not_begin_is_504(gateway: Gateway, service: Service) -> None:
    async def never(_: bytes, __: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    service.answer = never
    assert gateway.call("GET", STREAM, key=None).status == 504
    wait_for(lambda: service.closed)


def test_a_silent_stream_is_cut(gateway: Gateway, service: Service) -> None:
    with listen(gateway) as client:
        heard(client)
        assert client.is_closed()


def test_a_listener_who_does_not_read_is_dropped_and_the_others_go_on(
    gateway: Gateway, service: Service, board: Board
) -> None:
    with listen(gateway) as slow, listen(gateway) as quick:
        for client in (slow, quick):
            heard(client)
        event = chunk(b"event: top\ndata: " + b"x" * 100_000 + b"\n\n")
        for _ in range(100):
            board.say(service, event)
            assert len(heard(quick)) > 100_000
        assert slow.drain() < 100 * 100_000
    assert b"leaderboard_gateway_readers_cut_total 1.0" in gateway.internal.call("GET", "/metrics").body


def test_an_export_flows_no_faster_than_it_is_read(gateway: Gateway, service: Service) -> None:
    written: list[int] = []

    async def export(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for number in range(500):
            writer.write(chunk(b"x" * 100_000))
            await writer.drain()
            written.append(number)
        writer.write(b"0\r\n\r\n")

    service.answer = export
    with gateway.client() as client:
        client.send(gateway.request("GET", EXPORT))
        wait_for(lambda: len(written) > 5)
        held = wait_until_steady(written)
        assert held < 400, "the gateway or the sockets took it all"
        reply = client.reply()
        assert reply is not None
        assert len(reply.body) == 50_000_000


def wait_until_steady(written: list[int]) -> int:
    """Wait until nothing was written for a while; return how much was."""
    seen = [-1] * 10

    def steady() -> bool:
        seen.append(len(written))
        return len(set(seen[-10:])) == 1

    wait_for(steady)
    return len(written)


def test_head_of_a_stream_is_only_its_head(gateway: Gateway, service: Service, board: Board) -> None:
    reply = gateway.call("HEAD", EXPORT)
    assert reply.status == 200
    wait_for(lambda: board.left == 1)


def test_streams_end_when_the_gateway_stops(
    service: Service, board: Board, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_gateway(tmp_path_factory.mktemp("g"), RANK_URL=service.url, PUBLIC_GAMES="demo") as gateway:
        with listen(gateway) as client:
            heard(client)
            gateway.process.terminate()
            assert client.exactly(5) == b"0\r\n\r\n"
            assert client.is_closed()
        assert gateway.process.wait(3) is not None
