"""Bytes no one would send, by the hundred, from the run's seed: no 5xx, no crash, no growth."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_smuggling import CHUNKED, GET, KEY, POST, REFUSED
from tests.doors import TOP, Gateway, Service, running_gateway

GOOD = [
    GET + b"\r\n",
    GET + b'x-request-id: abcdefgh\r\nif-none-match: "a"\r\naccept-encoding: gzip\r\n\r\n',
    POST + b"content-type: application/json\r\ncontent-length: 7\r\n\r\n" + b'{"a":1}',
    POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
    CHUNKED + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-a: b\r\n\r\n",
    GET.replace(b"GET", b"OPTIONS") + b"origin: https://x.example\r\n\r\n",
    b"GET /?game=open&offset=5 HTTP/1.1\r\nhost: t\r\n\r\n",
]
SEEDS = GOOD + [case for case in REFUSED.values() if len(case) < 2000]
SCRAPS = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\r\n\r\n",
    b" ",
    b":",
    b"/",
    b"%2f",
    b"0\r\n\r\n",
    b"HTTP/1.1",
    b"\xff",
    b"a" * 5000,
]
SCRAPS += [b"content-length: 9\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", KEY]

CASES = 800
AT_ONCE = 100
WARM = 200
"""Cases after which memory is measured first: caches and pools are filled by then."""

MAX_GROWTH_KB = 6 * 1024


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Service() as service:
        settings = {"SCORE_URL": service.url, "RANK_URL": service.url, "PUBLIC_GAMES": "demo,open"}
        with running_gateway(tmp_path, **settings, HEAD_SECONDS="1", BODY_SECONDS="1") as gateway:
            yield gateway


def mutated(rng: random.Random) -> bytes:
    """Spoil one to three requests in up to six places."""
    data = bytearray(b"".join(rng.choices(SEEDS, k=rng.randint(1, 3))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + rng.randint(1, 20)] = b""
            case 1:
                data[at:at] = rng.choice(SCRAPS)
            case 2:
                data[at : at + 1] = rng.randbytes(1)
            case _:
                data[at:at] = data[max(at - rng.randint(1, 60), 0) : at]
    return bytes(data) or b"\0"


async def sent(port: int, data: bytes, rng: random.Random) -> bytes:
    """Send bytes in a few writes; return what came back within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        for piece in (data[: (cut := rng.randrange(len(data) + 1))], data[cut:]):
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(0.5):
            while chunk := await reader.read(65_536):
                got += chunk
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
    return got


def memory_kb(pid: int) -> int:
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(line)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory as Linux tells it")
async def test_spoiled_bytes_do_no_harm(gateway: Gateway, rng: random.Random) -> None:
    cases = [mutated(rng).replace(b"KEY", gateway.admin.encode()) for _ in range(CASES)]
    statuses: set[int] = set()
    warm = 0
    for start in range(0, CASES, AT_ONCE):
        batch = cases[start : start + AT_ONCE]
        answers = await asyncio.gather(*(sent(gateway.port, case, rng) for case in batch))
        for case, answer in zip(batch, answers, strict=True):
            found = {int(status) for status in re.findall(rb"(?:^|\n|\})HTTP/1\.1 (\d{3}) ", answer)}
            assert all(status < 500 for status in found), (case, answer)
            assert not answer or found, (case, answer)
            statuses |= found
        warm = memory_kb(gateway.process.pid) if start + AT_ONCE == WARM else warm
    assert {200, 400, 404} <= statuses
    assert gateway.process.poll() is None
    assert memory_kb(gateway.process.pid) - warm < MAX_GROWTH_KB
    assert b"Traceback" not in gateway.log.with_name("log").read_bytes()
    assert (await asyncio.to_thread(gateway.call, "GET", TOP)).status == 200
