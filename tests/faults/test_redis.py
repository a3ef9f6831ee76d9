"""Redis emptied, restored, evicted, demoted, full, corrupted: never a wrong rank, and all heals by itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio

from shared.wire import Wire as RedisWire
from tests import servers
from tests.faults.crowd import VISIBLE_WITHIN
from tests.faults.proof import ordeal
from tests.faults.rig import Rig, wired
from tests.faults.valkeys import Server, running
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = {"state": ":s", "ranking": ":z", "versions": ":v", "distinct": ":d", "profiles": ""}
"""The kinds of keys, by the ends of their names."""

NOBODY = ("127.0.0.1", "1")

Fault = Callable[[Server], AbstractAsyncContextManager[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A server of our own: others would not like what happens to it."""
    server = Server(tmp_path_factory.mktemp("valkey"), "--enable-debug-command", "yes")
    async with running(server):
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(
    tmp_path_factory: pytest.TempPathFactory, databases: servers.Databases, server: Server
) -> AsyncIterator[Rig]:
    with databases.fresh() as database_url:
        async with wired(tmp_path_factory.mktemp("redis"), database_url, server.url) as rig:
            yield rig


async def keys_of(server: Server, kind: str) -> list[bytes]:
    async with server.client() as client:
        if kind == "profiles":
            return [key async for key in client.scan_iter(match="{p:*", count=1000)]
        return [key async for key in client.scan_iter(match="{lb:*}" + KINDS[kind], count=1000)]


@asynccontextmanager
async def flushed(server: Server) -> AsyncIterator[None]:
    async with server.client() as client:
        await client.flushall()
        yield
        await client.flushall()


@asynccontextmanager
async def restarted_empty(server: Server) -> AsyncIterator[None]:
    server.kill()
    (server.folder / "dump.rdb").unlink(missing_ok=True)
    await server.started()
    yield


@asynccontextmanager
async def restored(server: Server) -> AsyncIterator[None]:
    """Play on after a snapshot, then come back with what it holds."""
    async with server.client() as client:
        await client.save()
    yield
    server.kill()
    await server.started()


@asynccontextmanager
async def loading(server: Server) -> AsyncIterator[None]:
    """Be restarted with data that take a while to read: -LOADING is all that is answered."""
    async with server.client() as client:
        await client.mset({f"ballast:{n}": "x" * 100 for n in range(1_000)})
        await client.save()
    server.kill()
    server.start("--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024")
    yield
    await wait_until(server.answers, timeout=20)


@asynccontextmanager
async def demoted(server: Server) -> AsyncIterator[None]:
    """Be told to follow another: what is there can be read, writes are answered with -READONLY."""
    async with server.client() as client:
        await client.replicaof(*NOBODY)
        yield
        await client.replicaof("NO", "ONE")


@asynccontextmanager
async def full(server: Server) -> AsyncIterator[None]:
    """Have no memory left: -OOM."""
    async with server.client() as client:
        await client.config_set("maxmemory", 1)
        yield
        await client.config_set("maxmemory", 0)


@asynccontextmanager
async def squeezed(server: Server) -> AsyncIterator[None]:
    """Evict anything, all the time: a setting that we advise against."""
    async with server.client() as client:
        used = (await client.info("memory"))["used_memory"]
        await client.config_set("maxmemory-policy", "allkeys-random")
        await client.config_set("maxmemory", int(used) - 20_000)
        yield
        await client.config_set("maxmemory", 0)
        await client.config_set("maxmemory-policy", "noeviction")
        assert (await client.info("stats"))["evicted_keys"] > 0


def evicted(kind: str) -> Fault:
    """Lose all keys of a kind, as eviction would take them: whole, without a word."""

    @asynccontextmanager
    async def fault(server: Server) -> AsyncIterator[None]:
        async with server.client() as client:
            found = await keys_of(server, kind)
            assert found, f"no keys of {kind}"
            await client.delete(*found)
            yield
            if found := await keys_of(server, kind):
                await client.delete(*found)

    return fault


def corrupted(kind: str) -> Fault:
    """Find something else where keys of a kind should be."""

    @asynccontextmanager
    async def fault(server: Server) -> AsyncIterator[None]:
        async with server.client() as client, client.pipeline(transaction=True) as pipe:
            found = await keys_of(server, kind)
            assert found, f"no keys of {kind}"
            for key in found:
                pipe.delete(key)
                pipe.rpush(key, "nonsense")
            await pipe.execute()
        yield

    return fault


@pytest.mark.timeout(60)
async def test_a_server_that_takes_another_name_is_one_server_to_all_connections(server: Server) -> None:
    """Else they would take each other's copies for those of another server, and load them for ever."""
    early, late = (RedisWire(server.url, timeout=2) for _ in range(2))
    old = await early.connect()
    async with demoted(server):
        pass
    new = await late.connect()
    assert new != old

    async def agreed() -> bool:
        return await early.connect() == new

    await wait_until(agreed, timeout=10)
    for each in (early, late):
        await each.close()


LONG = VISIBLE_WITHIN + 2
"""Seconds a server is of no use for writing: longer than an index may lack what was answered."""

FAULTS: dict[str, tuple[Fault, float]] = {
    "flushed": (flushed, 1.0),
    "restarted empty": (restarted_empty, 1.0),
    "restored from a snapshot": (restored, 1.0),
    "loading": (loading, 1.0),
    "demoted": (demoted, LONG),
    "full": (full, LONG),
    "squeezed": (squeezed, 2.0),
    **{f"{kind} evicted": (evicted(kind), 0.5) for kind in KINDS},
    **{f"{kind} corrupted": (corrupted(kind), 0.5) for kind in KINDS},
}
QUICK = {"flushed", "restored from a snapshot", "distinct evicted", "distinct corrupted"}
CASES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAULTS]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CASES)
async def test_whatever_redis_does_no_rank_is_wrong_and_all_heals(
    rig: Rig, server: Server, rng: random.Random, name: str
) -> None:
    fault, lasts = FAULTS[name]
    crowd = await ordeal(rig, rng, lambda: fault(server), lasts=lasts)
    errors = {status: n for status, n in crowd.statuses.items() if status not in (200, 201, 404)}
    assert not errors, f"Redis is disposable: its loss costs no answer, but there were {errors}"
