"""Three masters: shards on different nodes, moved slots, nodes that go away. Never a wrong rank."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from rank_service.index import BATCHES
from shared.cluster import Cluster
from shared.errors import StoreUnavailable
from shared.events import CHANNEL, RulesChanged, publish
from shared.ranking import Ranking
from tests.masters import Masters, masters
from tests.support import wait_until
from tests.world import World, play_and_compare, world_on


@pytest.fixture(scope="module")
def running() -> Iterator[Masters]:
    with masters() as cluster:
        yield cluster


@pytest.fixture
async def cluster(running: Masters) -> Masters:
    await running.whole()
    running.empty()
    return running


@pytest.fixture
async def world(cluster: Masters, database_url: str, rng: random.Random) -> AsyncIterator[World]:
    async with world_on(database_url, cluster.url, rng) as world:
        yield world


async def ranking_of(world: World) -> Ranking:
    return (await world.score.state["games"].get("demo")).board("board").ranking(0)


async def answered_by_index(world: World) -> bool:
    return str((await world.get("/top"))["source"]) == "index"


async def test_everything_equals_the_model_across_nodes(world: World, cluster: Masters) -> None:
    async def empty_one() -> None:
        world.rng.choice(cluster.nodes).run("FLUSHALL")

    await play_and_compare(world, 30, empty_one)
    owners = {cluster.owner(part.keys[0]).port for part in (await ranking_of(world)).parts}
    assert len(owners) > 1, "the shards lie on several nodes"


async def test_a_killed_node_costs_the_index_and_no_rank(world: World, cluster: Masters) -> None:
    for _ in range(3):
        await world.play()
    await wait_until(lambda: answered_by_index(world))
    lost = cluster.owner((await ranking_of(world)).parts[0].keys[0])
    lost.kill()
    for _ in range(3):
        await world.compare()
        assert not await answered_by_index(world)
        answer = await world.play()
        assert answer.results[0].entries[0].rank is None
    lost.start()
    await cluster.whole()
    await wait_until(lambda: answered_by_index(world))
    await world.compare()


async def test_a_slot_on_the_move_is_answered_from_postgres(world: World, cluster: Masters) -> None:
    for _ in range(5):
        await world.play()
    await wait_until(lambda: answered_by_index(world))
    shard = (await ranking_of(world)).parts[1]
    for step in cluster.move(shard.keys[0]):
        await world.compare()
        await world.play()
        await world.compare()
        assert step == "done" or not await answered_by_index(world)
    await wait_until(lambda: answered_by_index(world))
    await world.compare()


async def test_each_node_is_asked_once_for_what_is_asked_at_once(world: World, cluster: Masters) -> None:
    for _ in range(8):
        await world.play()
    users = world.game.users()[:12]

    async def read_all() -> None:
        await asyncio.gather(*(world.get(f"/users/{user}") for user in users))

    await wait_until(lambda: answered_by_index(world))
    await read_all()
    before = trips(), [node.calls("evalsha") for node in cluster.nodes]
    await read_all()
    # Users, then beside their scores, and profiles; the first of each may have gone alone.
    assert trips() - before[0] <= 2 * 3 * len(cluster.nodes)
    parts = [cluster.owner(part.keys[0]) for part in (await ranking_of(world)).parts]
    for node, was in zip(cluster.nodes, before[1], strict=True):
        assert node.calls("evalsha") - was <= 2 * 2 * len(users) * parts.count(node)


def trips() -> float:
    """Return how many round trips with questions there have been."""
    (metric,) = BATCHES.collect()
    return sum(sample.value for sample in metric.samples if sample.name.endswith("_count"))


@pytest.fixture
async def line(cluster: Masters) -> AsyncIterator[Cluster]:
    line = Cluster(cluster.url, timeout=1)
    yield line
    await line.close()


async def test_an_event_published_anywhere_is_heard_anywhere(line: Cluster, cluster: Masters) -> None:
    for node in cluster.nodes:
        channel: Any = node.client.pubsub()  # type: ignore[no-untyped-call]
        channel.subscribe(CHANNEL)
        assert channel.get_message(timeout=5)["type"] == "subscribe"
        await line.send([publish(RulesChanged("demo"))])
        assert b"demo" in channel.get_message(timeout=5)["data"].encode()
        channel.close()
    for url in await line.urls():
        async with Redis.from_url(url) as client:
            assert await client.ping()
    assert len(await line.urls()) == 3


async def test_commands_find_their_nodes_and_keep_their_order(line: Cluster) -> None:
    sent = [("SET", f"key{i}", i) for i in range(50)]
    assert await line.send(sent) == [b"OK"] * 50
    assert await line.send([("GET", f"key{i}") for i in range(50)]) == [b"%d" % i for i in range(50)]
    assert await line.send([("GET", "key1"), publish(RulesChanged("x")), ("GET", "key2")]) == [b"1", 0, b"2"]


async def test_a_moved_key_is_followed(line: Cluster, cluster: Masters) -> None:
    await line.send([("SET", "{moved}a", 1), ("SET", "stays", 2)])
    for step in cluster.move("{moved}a"):
        expected = [b"1", b"2"]
        assert await line.send([("GET", "{moved}a"), ("GET", "stays")]) == expected, step
    assert await line.owner("{moved}a") == ("127.0.0.1", cluster.owner("{moved}a").port)


async def test_without_any_node_the_error_is_clear_and_comes_soon() -> None:
    line = Cluster("redis+cluster://127.0.0.1:1,127.0.0.1:2", timeout=0.2)
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="no node"):
            await line.send([("GET", "x")])
        with pytest.raises(StoreUnavailable):
            await line.connect()
    await line.close()


async def test_a_server_that_is_no_cluster_is_told_apart(redis_url: str) -> None:
    line = Cluster(redis_url.replace("redis://", "redis+cluster://").rpartition("/")[0], timeout=1)
    with pytest.raises(StoreUnavailable, match="no cluster"):
        await line.send([("GET", "x")])
    with suppress(StoreUnavailable):
        await line.close()
