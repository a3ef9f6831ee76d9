"""The gateway and its services: odd answers, dead and hung services, retries, deadlines, bodies."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from deploy.embedded import free_ports
from gateway.upstream import MAX_TIMEOUTS
from tests.doors import OK, TOP, Answer, Gateway, Reply, Service, answer_ok, running_gateway, wait_for

SESSIONS = "/v1/games/demo/sessions"


@pytest.fixture(scope="module")
def shared_service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(shared_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = {
        "REQUEST_DEADLINE_MS": "700",
        "HEAD_SECONDS": "1",
        "BODY_SECONDS": "1",
        "PUBLIC_GAMES": "demo",
    }
    with running_gateway(
        folder, SCORE_URL=shared_service.url, RANK_URL=shared_service.url, **settings
    ) as gateway:
        yield gateway


@pytest.fixture
def service(shared_service: Service) -> Iterator[Service]:
    shared_service.seen.clear()
    shared_service.closed = 0
    yield shared_service
    shared_service.answer = answer_ok


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, orjson.loads(reply.body)["code"]


def saying(data: bytes, *, then_close: bool = False) -> object:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if then_close:
            writer.close()

    return answer


ODD = {
    "both framings": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "no framing": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "more than its length": OK + b"surplus",
    "two answers": OK + OK,
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a zero byte": b"HTTP/1.1 200 OK\r\netag: a\0b\r\ncontent-length: 0\r\n\r\n",
    "a giant head": b"HTTP/1.1 200 OK\r\netag: " + b"a" * 40_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "gzip as a framing": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_answer_is_a_502_and_its_connection_is_not_used_again(
    case: str, gateway: Gateway, service: Service
) -> None:
    service.answer = saying(ODD[case], then_close=case == "no framing")  # type: ignore[assignment]
    reply = gateway.call("GET", TOP)
    assert code(reply) == (502, "upstream_unavailable")
    assert b"SSH" not in reply.body
    service.answer = answer_ok
    assert gateway.call("GET", TOP).body == b"{}"


def test_an_error_of_the_service_passes_as_it_is(gateway: Gateway, service: Service) -> None:
    problem = b'{"code":"game_not_found"}'
    head = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nserver: secret/1.0\r\n"
    service.answer = saying(head + b"content-length: %d\r\n\r\n%b" % (len(problem), problem))  # type: ignore[assignment]
    reply = gateway.call("GET", TOP)
    assert (reply.status, reply.body) == (404, problem)
    assert "server" not in reply.headers


def test_a_chunked_answer_arrives_under_one_framing(gateway: Gateway, service: Service) -> None:
    service.answer = saying(  # type: ignore[assignment]
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    reply = gateway.call("GET", TOP)
    assert reply.body == b"abcde"
    assert reply.headers["content-length"] == "5"
    assert "transfer-encoding" not in reply.headers


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_without_a_body_keeps_both_connections(
    status: bytes, gateway: Gateway, service: Service
) -> None:
    service.answer = saying(b"HTTP/1.1 " + status + b'\r\netag: "a"\r\n\r\n')  # type: ignore[assignment]
    with gateway.client() as client:
        for _ in range(2):
            client.send(gateway.request("GET", TOP))
            reply = client.reply()
            assert reply is not None
            assert reply.status == int(status[:3])
            assert reply.headers["etag"] == '"a"'


def test_head_asks_for_the_whole_and_passes_on_no_body(gateway: Gateway, service: Service) -> None:
    reply = gateway.call("HEAD", TOP)
    assert (reply.status, reply.headers["content-length"]) == (200, "2")
    assert service.seen[0].startswith(b"GET ")


def test_connections_to_the_service_are_kept(gateway: Gateway, service: Service) -> None:
    gateway.call("GET", TOP)
    before = service.connections
    for _ in range(20):
        gateway.call("GET", TOP)
    assert service.connections == before


def breaking(service: Service, times: int) -> None:
    """Make the service drop the next `times` requests unanswered."""
    left = [times]

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        if left[0]:
            left[0] -= 1
            writer.transport.abort()
        else:
            writer.write(OK)

    service.answer = answer


def test_a_read_that_was_not_answered_is_tried_once_more(gateway: Gateway, service: Service) -> None:
    breaking(service, 1)
    assert gateway.call("GET", TOP).status == 200
    assert len(service.seen) == 2


def test_and_not_twice(gateway: Gateway, service: Service) -> None:
    breaking(service, 9)
    assert code(gateway.call("GET", TOP)) == (502, "upstream_unavailable")
    assert len(service.seen) == 2


@pytest.mark.parametrize(("times", "status"), [(1, 200), (9, 502)])
def test_a_stream_that_did_not_begin_is_asked_for_once_more(
    gateway: Gateway, service: Service, times: int, status: int
) -> None:
    breaking(service, times)
    assert gateway.call("GET", TOP.replace("/top", "/stream")).status == status
    assert len(service.seen) == 2


def test_a_lookup_is_a_read_and_goes_again_with_its_body(gateway: Gateway, service: Service) -> None:
    breaking(service, 1)
    body = b'{"user_ids":["ada"]}'
    assert gateway.call("POST", TOP.replace("/top", "/lookup"), body=body).status == 200
    assert [seen.endswith(body) for seen in service.seen] == [True, True]


def test_a_write_that_was_sent_is_never_sent_again(gateway: Gateway, service: Service) -> None:
    breaking(service, 1)
    assert code(gateway.call("POST", SESSIONS, body=b"{}")) == (502, "upstream_unavailable")
    assert len(service.seen) == 1


def test_half_an_answer_is_never_taken_for_a_whole_one(gateway: Gateway, service: Service) -> None:
    service.answer = saying(  # type: ignore[assignment]
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", then_close=True
    )
    with gateway.client() as client:
        client.send(gateway.request("GET", TOP))
        reply = client.reply()
        assert reply is None or len(reply.body) < int(reply.headers["content-length"])
        assert client.is_closed()


def has_seen(service: Service, number: int) -> bool:
    return len(service.seen) == number


async def never(_: bytes, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


def test_a_late_answer_is_a_504_and_the_service_is_told_the_deadline(
    gateway: Gateway, service: Service
) -> None:
    service.answer = never
    before = time.monotonic()
    assert code(gateway.call("GET", TOP)) == (504, "deadline_exceeded")
    assert 0.6 < time.monotonic() - before < 2
    (line,) = [line for line in service.seen[0].split(b"\r\n") if line.startswith(b"x-deadline-ms: ")]
    assert 0 < int(line.split()[1]) <= 700


def test_a_client_that_goes_away_ends_the_work(gateway: Gateway, service: Service) -> None:
    ended = threading.Event()

    async def work(_: bytes, __: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    service.answer = work
    with gateway.client() as client:
        client.send(gateway.request("GET", TOP))
        wait_for(lambda: service.seen)
    assert ended.wait(0.5), "sooner than its deadline"


def test_a_slow_head_is_cut(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: ")
        reply = client.reply()
        assert reply is not None
        assert reply.status == 408
        assert client.is_closed()


def test_a_slow_body_is_cut_though_it_keeps_dripping(gateway: Gateway, service: Service) -> None:
    with gateway.client() as client:
        client.send(
            gateway.request("POST", SESSIONS, headers="x: y\r\n").replace(b"length: 0", b"length: 99")
        )
        wait_for(lambda: dripped(client.socket), timeout=4)
        reply = client.reply()
        assert reply is None or reply.status == 408
    assert service.seen == []


def dripped(connection: socket.socket) -> bool:
    """Send one more byte; say whether the other side has answered or closed."""
    connection.settimeout(0.1)
    try:
        connection.sendall(b"x")
        return bool(connection.recv(1, socket.MSG_PEEK)) or True
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(5)


TOO_MUCH = 2 * 1024 * 1024 + 1


def test_a_body_at_the_bound_passes(gateway: Gateway, service: Service) -> None:
    assert gateway.call("POST", SESSIONS, body=b" " * (TOO_MUCH - 1)).status == 200
    assert service.seen[0].endswith(b"\r\n\r\n" + b" " * (TOO_MUCH - 1))


def test_a_body_past_the_bound_is_announced_and_not_sent(gateway: Gateway, service: Service) -> None:
    with gateway.client() as client:
        client.send(gateway.request("POST", SESSIONS, body=b" " * TOO_MUCH))
        reply = client.reply()
        assert reply is not None
        assert reply.headers["connection"] == "close"
        assert client.is_closed()
    assert b"x-body-too-large: 1\r\n" in service.seen[0]
    assert b"content-length: 0\r\n" in service.seen[0]


def test_a_chunked_body_that_grows_past_the_bound_too(gateway: Gateway, service: Service) -> None:
    head = f"POST {SESSIONS} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {gateway.admin}\r\n"
    with gateway.client() as client:
        client.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        client.send(b"%x\r\n" % TOO_MUCH + b" " * TOO_MUCH)
        reply = client.reply()
        assert reply is not None
        assert reply.headers["connection"] == "close"
    assert b"x-body-too-large: 1\r\n" in service.seen[0]


def test_a_dead_service_is_503_at_once_and_leaves_the_other_alone(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        Service() as rank,
        running_gateway(tmp_path, RANK_URL=rank.url, SCORE_URL=f"http://127.0.0.1:{port}") as gateway,
    ):
        before = time.monotonic()
        reply = gateway.call("POST", SESSIONS, body=b"{}")
        assert time.monotonic() - before < 0.5
        assert code(reply) == (503, "upstream_unavailable")
        assert reply.headers["retry-after"]
        assert gateway.call("GET", TOP).status == 200
        with Service(port):
            wait_for(lambda: gateway.call("POST", SESSIONS, body=b"{}").status == 200, timeout=3)


def test_a_service_that_hangs_is_left_alone_until_it_answers_again(tmp_path: Path) -> None:
    with (
        Service() as rank,
        running_gateway(tmp_path, RANK_URL=rank.url, REQUEST_DEADLINE_MS="100") as gateway,
    ):
        rank.answer, rank.health = never, b""
        statuses = [*iter(lambda: gateway.call("GET", TOP).status, 503)]
        assert len(statuses) >= MAX_TIMEOUTS >= len(rank.seen)
        assert set(statuses) == {504}
        rank.answer, rank.health = answer_ok, OK
        wait_for(lambda: gateway.call("GET", TOP).status == 200, timeout=3)


def test_a_gateway_is_ready_while_it_reaches_a_service(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running_gateway(tmp_path, RANK_URL=f"http://127.0.0.1:{port}") as gateway:
        with Service(port):
            assert gateway.call("POST", SESSIONS, body=b"{}").status == 503
            reply = gateway.internal.call("GET", "/readyz")
            assert (reply.status, orjson.loads(reply.body)) == (200, {"status": "ready", "away": ["score"]})
        wait_for(lambda: gateway.call("GET", TOP).status == 503)
        assert gateway.internal.call("GET", "/readyz").status == 503
        assert gateway.internal.call("GET", "/healthz").status == 200


def holding(release: threading.Event) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(release.wait)
        writer.write(OK)

    return answer


def test_what_was_accepted_is_finished_when_the_gateway_stops(tmp_path: Path) -> None:
    with Service() as rank, running_gateway(tmp_path, RANK_URL=rank.url) as gateway:
        release = threading.Event()
        rank.answer = holding(release)
        with gateway.client() as client, gateway.client() as idle:
            client.send(gateway.request("GET", TOP))
            wait_for(lambda: rank.seen)
            gateway.process.terminate()
            assert idle.is_closed()
            assert gateway.internal.call("GET", "/readyz").status == 503
            release.set()
            reply = client.reply()
            assert reply is not None
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert client.is_closed()
        assert gateway.process.wait(3) is not None


def test_requests_past_every_bound_are_turned_away(tmp_path: Path) -> None:
    settings = {"MAX_UPSTREAM_CONNECTIONS": "2", "MAX_UPSTREAM_WAITING": "1"}
    with Service() as rank, running_gateway(tmp_path, RANK_URL=rank.url, **settings) as gateway:
        release = threading.Event()
        rank.answer = holding(release)
        clients = [gateway.client() for _ in range(4)]
        for n, client in enumerate(clients):
            client.send(gateway.request("GET", TOP))
            wait_for(partial(has_seen, rank, min(n + 1, 2)))
        refused = clients[3].reply()
        assert refused is not None
        assert code(refused) == (503, "overloaded")
        release.set()
        replies = [client.reply() for client in clients[:3]]
        assert [reply.status for reply in replies if reply] == [200, 200, 200]
        for client in clients:
            client.__exit__()
        assert rank.connections == 2


@pytest.mark.parametrize("path", [TOP, TOP.replace("/top", "/stream")])
def test_who_goes_away_leaves_the_place_in_the_queue_to_others(tmp_path: Path, path: str) -> None:
    settings = {"MAX_UPSTREAM_CONNECTIONS": "1", "MAX_UPSTREAM_WAITING": "1"}
    with Service() as rank, running_gateway(tmp_path, RANK_URL=rank.url, **settings) as gateway:
        release = threading.Event()
        rank.answer = holding(release)
        with gateway.client() as first:
            first.send(gateway.request("GET", TOP))
            wait_for(lambda: rank.seen)
            with gateway.client() as impatient:
                impatient.send(gateway.request("GET", path))
            wait_for(lambda: b'status="499"' in gateway.internal.call("GET", "/metrics").body)
            with gateway.client() as second, gateway.client() as third:
                second.send(gateway.request("GET", TOP))
                third.send(gateway.request("GET", TOP))
                refused = third.reply()
                release.set()
                replies = [first.reply(), second.reply()]
        assert refused is not None
        assert code(refused) == (503, "overloaded")
        assert [reply.status for reply in replies if reply] == [200, 200]
