"""The attacks of `test_smuggling` on a connection whose head the gateway remembers, sent in every way.

First come requests that are answered, so that the next one like them is recognised; then the attack: by
itself, in one segment with a request before it, and cut at odd places. Nothing of it may reach a service.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest

from tests.acceptance.test_smuggling import GET, POST, REFUSED, SMUGGLED, gateway, keyed, service
from tests.doors import Client, Gateway, Service

__all__ = ["gateway", "service"]

USUAL = GET + b"\r\n"


@pytest.fixture
def client(gateway: Gateway, service: Service) -> Iterator[Client]:
    with gateway.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            client.send(keyed(USUAL, gateway))
            reply = client.reply()
            assert reply is not None
            assert reply.status == 200
        service.seen.clear()
        yield client


def is_refused(client: Client) -> bool:
    reply = client.reply()
    return reply is None or 400 <= reply.status < 500


@pytest.mark.parametrize("case", REFUSED)
def test_an_attack_behind_a_remembered_head_reaches_nothing(
    case: str, gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(REFUSED[case], gateway))
    assert is_refused(client)
    assert service.seen == []


@pytest.mark.parametrize("case", REFUSED)
def test_nor_in_one_segment_with_a_request_before_it_and_one_behind(
    case: str, gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(USUAL + REFUSED[case], gateway) + SMUGGLED)
    first = client.reply()
    assert first is not None
    assert first.status == 200
    assert is_refused(client)
    assert sum(b"smuggled" not in request for request in service.seen) == 1


@pytest.mark.parametrize("case", [case for case in REFUSED if len(REFUSED[case]) < 2000])
def test_nor_cut_at_odd_places(
    case: str, gateway: Gateway, service: Service, client: Client, rng: random.Random
) -> None:
    data = keyed(REFUSED[case], gateway)
    ends = sorted(rng.sample(range(1, len(data)), min(4, len(data) - 1)))
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        try:
            client.send(data[start:end])
        except ConnectionError:  # refused before the end of it
            break
    assert is_refused(client)
    assert service.seen == []


@pytest.mark.parametrize("case", [case for case in REFUSED if "chunk" in case or "length" in case])
def test_what_follows_a_broken_frame_is_no_request_there_either(
    case: str, gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(keyed(REFUSED[case], gateway) + SMUGGLED)
    assert is_refused(client)
    assert client.is_closed()
    assert service.seen == []


def test_a_body_that_is_the_remembered_request_is_a_body(
    gateway: Gateway, service: Service, client: Client
) -> None:
    inner = keyed(USUAL, gateway)
    client.send(keyed(POST, gateway) + b"content-length: %d\r\n\r\n" % len(inner))
    client.send(inner)
    reply = client.reply()
    assert reply is not None
    assert [request.split(b" ")[0] for request in service.seen] == [b"POST"]
    assert service.seen[0].endswith(b"\r\n\r\n" + inner)


def test_a_head_that_goes_on_with_the_remembered_request_is_one_head(
    gateway: Gateway, service: Service, client: Client
) -> None:
    client.send(b"GET /v1/games HTTP/1.1\r\nx-a: ")
    client.send(keyed(USUAL, gateway))
    reply = client.reply()
    assert reply is not None
    assert len(service.seen) == 1
    assert service.seen[0].startswith(b"GET /v1/games HTTP/1.1\r\n")
