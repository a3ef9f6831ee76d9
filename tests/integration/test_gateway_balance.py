"""Which replica gets a request: the least busy, the living, and only those the name still leads to."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.peer import Address
from gateway.upstream import MAX_TIMEOUTS, Upstream
from gateway.wire import Headers, Wire
from tests.doors import OK, Service
from tests.support import wait_until

REQUEST = b"GET /v1/games HTTP/1.1\r\nhost: t\r\n\r\n"


class Ask:
    """One request to a service, told of its fate as an exchange would be."""

    is_stream = False

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.fate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.wire: Wire | None = None

    def start(self) -> asyncio.Future[int]:
        wire = self._upstream.take()
        if wire is not None:
            self.assigned(wire)
        else:
            self._upstream.wait(self)
        return self.fate

    def assigned(self, wire: Wire) -> None:
        self.wire = wire
        wire.send(self, REQUEST)

    def unassigned(self) -> None:
        self.fate.set_result(503)

    def answered(self, status: int, headers: Headers, body: bytes) -> None:
        self.fate.set_result(status)

    def begun(self, status: int, headers: Headers, length: int | None) -> None:
        raise AssertionError("no answer here comes in pieces")

    def piece(self, data: bytes) -> None:
        raise AssertionError("no answer here comes in pieces")

    def ended(self) -> None:
        raise AssertionError("no answer here comes in pieces")

    def lost(self, *, odd: bool) -> None:
        self.fate.set_result(502)


@pytest.fixture
def names() -> list[Address]:
    """What the name of the service resolves to; tests change it."""
    return []


@pytest.fixture
async def upstream(names: list[Address]) -> AsyncIterator[Upstream]:
    async def lookup() -> list[Address]:
        return [*names]

    upstream = Upstream("rank", "http://rank:80", connections=8, waiting=100, streams=10, lookup=lookup)
    yield upstream
    await upstream.close()


def address(service: Service) -> Address:
    return ("127.0.0.1", service.port)


async def burst(upstream: Upstream, number: int) -> list[int]:
    return await asyncio.gather(*(Ask(upstream).start() for _ in range(number)))


async def test_no_read_fails_while_replicas_go_from_one_to_three_to_one(
    upstream: Upstream, names: list[Address]
) -> None:
    with ExitStack() as running:
        replicas = [running.enter_context(Service()) for _ in range(3)]
        statuses: list[int] = []
        for live in (1, 3, 1):
            names[:] = [address(replica) for replica in replicas[:live]]
            await upstream.resolve()
            for replica in replicas:
                replica.seen.clear()
            for _ in range(20):
                statuses += await burst(upstream, 12)
            assert [bool(replica.seen) for replica in replicas] == [n < live for n in range(3)]
        assert set(statuses) == {200}


async def test_requests_spread_by_least_in_flight(upstream: Upstream, names: list[Address]) -> None:
    with Service() as slow, Service() as quick:
        release = threading.Event()

        async def held(_: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.to_thread(release.wait)
            writer.write(OK)

        slow.answer = held
        names[:] = [address(slow), address(quick)]
        await upstream.resolve()
        stuck = [Ask(upstream).start() for _ in range(2)]
        await wait_until(lambda: slow.seen)
        for _ in range(30):
            await Ask(upstream).start()
        release.set()
        assert len(slow.seen) <= 2
        assert len(quick.seen) >= 30
        assert await asyncio.gather(*stuck) == [200, 200]


async def test_a_dead_replica_is_left_out_and_comes_back(upstream: Upstream, names: list[Address]) -> None:
    with Service() as alive:
        with Service() as dying:
            names[:] = [address(alive), address(dying)]
            await upstream.resolve()
        assert set(await burst(upstream, 20)) == {200}
        assert ejected(upstream) == [False, True]
        await upstream.probe()
        assert ejected(upstream) == [False, True]
        with Service(dying.port) as back:
            await upstream.probe()
            assert ejected(upstream) == [False, False]
            await wait_until(lambda: all_well_and_seen(upstream, back))


async def all_well_and_seen(upstream: Upstream, service: Service) -> bool:
    assert set(await burst(upstream, 20)) == {200}
    return bool(service.seen)


def ejected(upstream: Upstream) -> list[bool]:
    return [peer.ejected for peer in upstream.peers]


@pytest.mark.parametrize(("rest", "is_out"), [(3600.0, True), (0.0, False)])
async def test_a_hung_replica_rests_for_a_while_though_it_tells_of_health(
    upstream: Upstream, names: list[Address], monkeypatch: pytest.MonkeyPatch, rest: float, is_out: bool
) -> None:
    monkeypatch.setattr("gateway.upstream.HUNG_SECONDS", rest)
    with Service() as hung:
        names[:] = [address(hung)]
        await upstream.resolve()
        for _ in range(MAX_TIMEOUTS):
            assert ejected(upstream) == [False]
            upstream.timed_out(upstream.peers[0])
        assert ejected(upstream) == [True]
        await upstream.probe()
        assert ejected(upstream) == [is_out]


async def test_a_probe_begun_before_an_ejection_says_nothing_of_what_came_after(
    upstream: Upstream, names: list[Address]
) -> None:
    with Service() as service:
        names[:] = [address(service)]
        await upstream.resolve()
        probing = asyncio.create_task(upstream.probe())
        await asyncio.wait([probing], timeout=0)
        upstream.eject(upstream.peers[0], "a test")
        await probing
        assert ejected(upstream) == [True]
        await upstream.probe()
        assert ejected(upstream) == [False]


async def test_with_every_replica_dead_there_is_no_waiting(upstream: Upstream, names: list[Address]) -> None:
    with Service() as dying:
        names[:] = [address(dying)]
    await upstream.resolve()
    assert set(await burst(upstream, 5)) == {503}
    assert upstream.is_away
    assert await Ask(upstream).start() == 503


async def test_a_name_that_leads_nowhere_yet_refuses_at_once(upstream: Upstream) -> None:
    assert await Ask(upstream).start() == 503


async def test_no_more_connections_are_opened_than_requests_wait(
    upstream: Upstream, names: list[Address]
) -> None:
    with Service() as service:
        names[:] = [address(service)]
        await upstream.resolve()
        await burst(upstream, 5)
        assert service.connections <= 5
        await burst(upstream, 50)
        assert service.connections <= 8


async def test_connections_that_were_idle_for_long_are_closed(
    upstream: Upstream, names: list[Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.IDLE_SECONDS", -1.0)
    with Service() as service:
        names[:] = [address(service)]
        await upstream.resolve()
        await burst(upstream, 3)
        await upstream.trim()
        await wait_until(lambda: not upstream.peers[0].wires)
        assert upstream.peers[0].in_flight == 0


def at_socket(path: Path) -> Service:
    """Return a service on a Unix socket."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return Service(sock=listening)


async def test_ports_and_unix_sockets_may_be_replicas_of_each_other(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    with Service() as service, at_socket(folder / "two") as near:
        with at_socket(folder / "one"):
            places = (f"unix:{folder}/one", f"unix:{folder}/two", service.url)
            upstream = Upstream("rank", ",".join(places), connections=8, waiting=100, streams=10)
            await upstream.resolve()
            assert len(upstream.peers) == 3
        assert set(await burst(upstream, 30)) == {200}
        await upstream.probe()
        assert ejected(upstream) == [True, False, False]
        assert near.seen
        assert service.seen
        (folder / "one").unlink()
        with at_socket(folder / "one"):
            await upstream.probe()
            assert ejected(upstream) == [False, False, False]
        await upstream.close()


async def test_replicas_that_are_equally_idle_take_turns(upstream: Upstream, names: list[Address]) -> None:
    with ExitStack() as running:
        replicas = [running.enter_context(Service()) for _ in range(3)]
        names[:] = [address(replica) for replica in replicas]
        await upstream.resolve()
        for _ in range(30):
            await Ask(upstream).start()
        assert min(len(replica.seen) for replica in replicas) >= 5


async def test_an_answer_that_comes_before_its_request_is_not_trusted(
    upstream: Upstream, names: list[Address]
) -> None:
    with Service() as service:
        names[:] = [address(service)]
        await upstream.resolve()
        await Ask(upstream).start()
        ask = Ask(upstream)
        fate = ask.start()
        assert ask.wire is not None
        ask.wire.data_received(OK)
        assert await fate == 502
        assert len(service.seen) == 1
