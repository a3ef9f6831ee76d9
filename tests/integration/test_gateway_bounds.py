"""What the gateway holds in memory for all its clients together is bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.doors import TOP, Client, Gateway, Service, running_gateway, wait_for

MIB = 1024 * 1024
SESSIONS = "/v1/games/demo/sessions"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    urls = {"SCORE_URL": service.url, "RANK_URL": service.url}
    with running_gateway(tmp_path_factory.mktemp("gateway"), MAX_HELD_BYTES=str(2 * MIB), **urls) as gateway:
        yield gateway


def begun(gateway: Gateway, client: Client, size: int) -> None:
    """Send a body of which the last byte is missing."""
    client.send(gateway.request("POST", SESSIONS, body=b" " * size)[:-1])


def held(gateway: Gateway) -> int:
    """Return the bytes of bodies that the gateway says it holds."""
    text = gateway.internal.call("GET", "/metrics").body.decode()
    return int(float(text.partition("\nleaderboard_gateway_held_bytes ")[2].partition("\n")[0]))


def test_bodies_past_the_bound_are_refused_until_others_are_gone(gateway: Gateway, service: Service) -> None:
    service.seen.clear()
    with ExitStack() as clients:
        first, second = (clients.enter_context(gateway.client()) for _ in range(2))
        for client in (first, second):
            begun(gateway, client, MIB)

        wait_for(lambda: held(gateway) == 2 * MIB - 2)
        refused = gateway.call("POST", SESSIONS, body=b" " * 100)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        first.send(b" ")
        reply = first.reply()
        assert reply is not None
        assert reply.status == 200
    wait_for(lambda: held(gateway) == 0)
    assert gateway.call("POST", SESSIONS, body=b" " * 2 * MIB).status == 200


def test_those_who_do_not_read_are_cut_past_the_bound(gateway: Gateway, service: Service) -> None:
    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    service.answer, closed = endless, service.closed
    with ExitStack() as sockets:
        for _ in range(60):
            client = sockets.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", gateway.port))
            client.sendall(gateway.request("GET", f"{TOP.removesuffix('top')}export"))
        wait_for(lambda: service.closed > closed, timeout=20)
        assert gateway.call("GET", "/healthz").status == 200
