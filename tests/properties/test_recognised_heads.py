"""A request that the gateway recognises is answered as one that it parses, whatever came before and behind.

The same conversation is held twice, in this process, with two gateways: once in pieces that let requests be
recognised (whole, by themselves), glued together or cut anywhere; once a byte at a time, so that all is
parsed. Both must write the same bytes to the client, and to the service behind.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.door import Door
from gateway.keys import Keyring
from gateway.service import Gateway
from gateway.settings import Settings
from gateway.upstream import Upstream
from shared.keys import SigningKey, write_jwks
from tests.acceptance.test_smuggling import REFUSED
from tests.doors import TOP, Service

OWN = re.compile(rb"\r\n(?:x-request-id|x-deadline-ms|date): [^\r]*|\"request_id\":\"[^\"]*\"")
"""What is never the same twice."""

LENGTH = re.compile(rb"\r\ncontent-length: [0-9]+")
"""Ids of requests are not all of one length."""

TURNS = 20_000


class Client(asyncio.Transport):
    """A client's end of a connection, as its door sees it: keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.written = b""
        self.over = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Doorstep:
    """A gateway in this process."""

    def __init__(self, folder: Path, service: Service) -> None:
        places = {"jwks_file": str(folder / "jwks.json"), "score_url": service.url, "rank_url": service.url}
        unlimited = {"key_rate": 0.0, "address_rate": 0.0, "access_log": False}
        chosen = Settings(**places, **unlimited, public_games=("demo",))  # type: ignore[arg-type]
        keyring = Keyring(Path(chosen.jwks_file), None, None)
        self.upstreams = {
            name: Upstream(name, service.url, connections=8, waiting=8, streams=8)
            for name in ("score", "rank")
        }
        self.gateway = Gateway(chosen, keyring, self.upstreams)

    async def open(self) -> None:
        for upstream in self.upstreams.values():
            await upstream.resolve()

    async def close(self) -> None:
        for upstream in self.upstreams.values():
            await upstream.close()

    async def hold(self, pieces: list[bytes]) -> bytes:
        """Hold a conversation; return what the client got. A piece comes when all before is answered."""
        client = Client()
        server: Any = SimpleNamespace(connections=set())
        door = Door(server_state=server, app_state={"gateway": self.gateway})
        door.connection_made(client)
        for piece in pieces:
            if client.over:
                break
            door.data_received(piece)
            for _ in range(TURNS):
                await asyncio.sleep(0)
                if door._exchange is None:
                    break
            else:
                pytest.fail("a request was not answered")
        await asyncio.sleep(0)
        door.connection_lost(None)
        return LENGTH.sub(b"", OWN.sub(b"", client.written)) + (b" over" if client.over else b"")


async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer with what was asked, in one of the ways of services: recognised by the gateway, or parsed."""
    said = OWN.sub(b"", request)
    way = crc32(said) % 4
    head = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\netag: "%x"\r\n' % crc32(said)
    if way == 0:
        writer.write(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(said), said))
        return
    head += (b"" if way == 1 else b"retry-after: 1\r\n") + b"content-length: %d\r\n\r\n" % len(said)
    writer.write(head if way == 3 else head + said)
    if way == 3:
        await writer.drain()
        writer.write(said)


SIGNER = SigningKey.generate()
ADMIN = SIGNER.mint("admin", key_id="test-admin", unlimited=True).encode()
KEY = b"authorization: Bearer " + ADMIN + b"\r\n"
HEADS = [
    b"host: t\r\n" + KEY + b"\r\n",
    b'Host: t\r\nAccept: */*\r\nIf-None-Match: W/"a"\r\nX-Odd: \t \r\nOrigin: https://x.example\r\n\r\n',
    b"host: t\r\nx-request-id: 0123456789abcdef\r\naccept-encoding: gzip\r\ncontent-length: 0\r\n\r\n",
    b"host: t\r\nauthorization: Bearer a.b.c\r\n\r\n",
    b"host: t\r\nconnection: if-none-match\r\nif-none-match: x\r\nx-scope: admin\r\n\r\n",
]
BOARD = TOP.removesuffix("/top").encode()
PATHS = [
    *(
        BOARD + end
        for end in (b"/top", b"/top?limit=3&offset=1", b"/users/ada", b"/users/%61da/around", b"/rank")
    ),
    *(b"/healthz", b"/docs", b"/nowhere", b"/v1/games", b"/v1/games/other/leaderboards", b"/v1/games/demo/"),
    *(BOARD + end for end in (b"//top", b"/../top", b"/%2e%2e/top", b"/users/me", b"/users/a%2fb", b"/t;p")),
]
targets = st.sampled_from(PATHS) | st.from_regex(rb"/[!-~]{1,30}", fullmatch=True)
reads = st.builds(b"GET %b HTTP/1.1\r\n%b".__mod__, st.tuples(targets, st.sampled_from(HEADS)))
POST = b"POST /v1/games/demo/sessions HTTP/1.1\r\nhost: t\r\n" + KEY
others = st.sampled_from(
    [
        POST + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        POST + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST
        + b"content-length: %d\r\n\r\nGET %b HTTP/1.1\r\n%b"
        % (len(BOARD) + 15 + len(HEADS[0]), BOARD, HEADS[0]),
        b"HEAD %b HTTP/1.1\r\n%b" % (PATHS[0], HEADS[0]),
        b"OPTIONS %b HTTP/1.1\r\n%b" % (PATHS[0], HEADS[1]),
        b"\r\n",
        *(case.replace(b"KEY", ADMIN) for case in REFUSED.values() if len(case) < 2000),
    ]
)
cuts = st.lists(st.integers(1, 400), max_size=2)

Part = tuple[bytes, bool, list[int]]
"""A request, whether it is glued to the one before, and where it is cut."""


def pieces(requests: list[Part]) -> list[bytes]:
    """Cut heads where they are to be cut; glue reads to the read before them that are to be.

    A body comes with the end of its head: whether it has come decides if an early answer ends the connection.
    """
    found: list[bytes] = []
    before = b""
    for request, is_glued, at in requests:
        last = len(head_of(request)) - 1
        ends = [0, *sorted({min(end, last) for end in at if last > 0}), len(request)]
        parts = [request[start:end] for start, end in pairwise(ends)]
        if is_glued and is_read(before) and is_read(request):
            found[-1] += parts.pop(0)
        found += parts
        before = request
    return found


def bytewise(requests: list[Part]) -> list[bytes]:
    """Cut heads between all of their bytes."""
    return pieces([(request, False, [*range(1, len(request))]) for request, *_ in requests])


def head_of(request: bytes) -> bytes:
    head, end, _ = request.partition(b"\r\n\r\n")
    return head + end


def is_read(request: bytes) -> bool:
    return request.startswith(b"GET ") and request == head_of(request)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        service.answer = echo
        yield service


@pytest.fixture(scope="module")
def doorsteps(
    runner: asyncio.Runner, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Doorstep]]:
    folder = tmp_path_factory.mktemp("keys")
    write_jwks(folder / "jwks.json", [SIGNER.public])

    async def opened() -> list[Doorstep]:
        both = [Doorstep(folder, service) for _ in range(2)]
        for each in both:
            await each.open()
        return both

    both = runner.run(opened())
    yield both
    for each in both:
        runner.run(each.close())


@settings(max_examples=300, deadline=None)
@given(requests=st.lists(st.tuples(reads | reads | others, st.booleans(), cuts), min_size=1, max_size=6))
def test_what_is_recognised_is_answered_as_what_is_parsed(
    runner: asyncio.Runner,
    service: Service,
    doorsteps: list[Doorstep],
    requests: list[Part],
) -> None:
    lines = head_of(requests[0][0]).partition(b"\r\n")[2]
    remembered: Part = (b"GET %b HTTP/1.1\r\n%b" % (PATHS[0], lines), False, [])
    conversation = [remembered, remembered, *requests]
    said, asked = [], []
    for doorstep, parts in zip(doorsteps, (pieces(conversation), bytewise(conversation)), strict=True):
        service.seen.clear()
        said.append(runner.run(doorstep.hold(parts)))
        asked.append([OWN.sub(b"", request) for request in service.seen])
    assert said[0] == said[1]
    assert asked[0] == asked[1]
