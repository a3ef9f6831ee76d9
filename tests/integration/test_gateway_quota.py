"""Rate limits that gateways share through Redis: one bucket, wherever a caller calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.doors import TOP, Gateway, Service, running_gateway
from tests.proxy import wire
from tests.support import wait_until

SLOW = {"KEY_RATE": "0.01", "KEY_BURST": "3", "ADDRESS_RATE": "2", "ADDRESS_BURST": "1000"}


@contextmanager
def sharing(folder: Path, service: Service, url: str, **settings: str) -> Iterator[tuple[Gateway, Gateway]]:
    """Run two gateways that know the same keys and share their limits."""
    common = {"RANK_URL": service.url, "LIMITS_REDIS_URL": url, **SLOW, **settings}
    for name in ("a", "b"):
        (folder / name).mkdir()
    with running_gateway(folder / "a", **common) as first:
        known = {"JWKS_FILE": str(folder / "a" / "jwks.json")}
        with running_gateway(folder / "b", **common, **known) as second:
            yield first, second


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory, valkey: str) -> Iterator[tuple[Gateway, Gateway]]:
    folder = tmp_path_factory.mktemp("gateways")
    with Service() as service, sharing(folder, service, valkey) as both:
        yield both


def test_two_gateways_are_one_bucket(gateways: tuple[Gateway, Gateway]) -> None:
    first, second = gateways
    key = first.signer.mint("read")
    replies = [gateway.call("GET", TOP, key=key) for gateway in (first, second, first, second, first)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["2", "1", "0", "0", "0"]
    assert {reply.headers["ratelimit-limit"] for reply in replies} == {"3"}
    assert 90 <= int(replies[-1].headers["retry-after"]) <= 101


def test_requests_at_once_take_no_more_than_there_is(gateways: tuple[Gateway, Gateway]) -> None:
    key = gateways[0].signer.mint("read")
    with gateways[0].client() as one, gateways[1].client() as other:
        for client, gateway in ((one, gateways[0]), (other, gateways[1])):
            client.send(gateway.request("GET", TOP, key=key) * 6)
        statuses = [reply.status for client in (one, other) for _ in range(6) if (reply := client.reply())]
    assert sorted(statuses) == [200] * 3 + [429] * 9


async def test_only_callers_short_of_tokens_are_kept(gateways: tuple[Gateway, Gateway], valkey: str) -> None:
    gateways[0].call("GET", TOP, key=gateways[0].signer.mint("read", key_id="slow"))
    gateways[0].call("GET", TOP, key=gateways[0].signer.mint("read", key_id="free", unlimited=True))
    gateways[0].call("GET", TOP, key=None)  # a stranger, refused: its address is counted all the same
    async with Redis.from_url(valkey) as redis:
        assert 90_000 < await redis.pttl("leaderboard:limit:key:slow") <= 100_000
        assert not await redis.exists("leaderboard:limit:key:free")
        address = "leaderboard:limit:address:127.0.0.1"
        await wait_until(lambda: redis.exists(address))

        async def is_forgotten() -> bool:
            return not await redis.exists(address)

        await wait_until(is_forgotten, timeout=10)


@pytest.mark.parametrize("fault", ["silent", "cut"])
async def test_without_redis_each_counts_alone(fault: str, tmp_path: Path, redis_url: str) -> None:
    async with wire(redis_url) as line:
        with Service() as service, sharing(tmp_path, service, line.url) as (first, second):
            line.silent = True
            if fault == "cut":
                await line.cut()
            key = first.signer.mint("read")
            for gateway in (first, second):
                replies = [await asyncio.to_thread(gateway.call, "GET", TOP, key=key) for _ in range(4)]
                assert [reply.status for reply in replies] == [200, 200, 200, 429]
