"""The index is a miss whenever anything about it does not fit, and never wrong."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.errors import StoreUnavailable
from shared.index import (
    Applied,
    Lookup,
    Miss,
    RankingIndex,
    Window,
    held,
    read_applied,
    read_held,
    read_lookup,
    read_window,
)
from shared.names import MAX_SCORE
from shared.ranking import Entry, Place, Ranking
from shared.wire import Wire
from tests.proxy import wire
from tests.servers import embedded_valkey

RANKING = Ranking(1, 1, 0, "competition", "desc")
IDLE_MS = 60_000


@pytest.fixture
async def index(redis_url: str) -> AsyncIterator[RankingIndex]:
    connection = Wire(redis_url, timeout=5)
    index = RankingIndex(connection, idle_ms=IDLE_MS)
    index.database_identity = "pg:1"
    yield index
    await connection.close()


def entry(user_id: str, score: int, version: int = 1) -> Entry:
    return Entry(user_id, version, -score, 0)


async def load(index: RankingIndex, *entries: Entry, ranking: Ranking = RANKING) -> str:
    status, token = await index.begin(ranking)
    assert status == "mine"
    if entries:
        (reply,) = await index.send([index.load(ranking, token, entries)])
        assert held(reply)
    assert await index.finish(ranking, token)
    return token


async def look(index: RankingIndex, *users: str, ranking: Ranking = RANKING) -> Lookup | Miss:
    (reply,) = await index.send([index.lookup(ranking, users)])
    return read_lookup(ranking, reply)


async def test_what_was_never_loaded_is_a_miss(index: RankingIndex) -> None:
    assert await look(index, "ada") == Miss("miss")


async def test_an_empty_ranking_is_ready(index: RankingIndex) -> None:
    await load(index)
    found = await look(index, "ada")
    assert isinstance(found, Lookup)
    assert (found.stamp.total, found.places) == (0, [None])


async def test_one_loads_at_a_time(index: RankingIndex) -> None:
    _, token = await index.begin(RANKING)
    assert (await index.begin(RANKING))[0] == "loading"
    await index.finish(RANKING, token)
    assert (await index.begin(RANKING))[0] == "ready"


async def test_a_load_whose_lock_was_lost_cannot_finish(index: RankingIndex, redis: Redis) -> None:
    _, token = await index.begin(RANKING)
    await redis.delete(RANKING.keys[0])
    (reply,) = await index.send([index.load(RANKING, token, [entry("ada", 5)])])
    assert not held(reply)
    assert not await index.finish(RANKING, token)
    assert await look(index, "ada") == Miss("miss")


async def test_a_second_loader_stops_the_first(index: RankingIndex, redis: Redis) -> None:
    _, first = await index.begin(RANKING)
    await redis.delete(*RANKING.keys)
    _, second = await index.begin(RANKING)
    (late,) = await index.send([index.load(RANKING, first, [entry("ada", 5)])])
    assert not held(late)
    assert await index.finish(RANKING, second)
    found = await look(index, "ada")
    assert isinstance(found, Lookup)
    assert found.places == [None]


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_copy_that_lost_a_key_is_a_miss(index: RankingIndex, redis: Redis, lost: int) -> None:
    await load(index, entry("ada", 5))
    await redis.delete(RANKING.keys[lost])
    assert await look(index, "ada") == Miss("miss")


async def test_a_copy_of_another_postgres_is_a_miss(index: RankingIndex) -> None:
    await load(index, entry("ada", 5))
    index.database_identity = "pg:2"
    assert await look(index, "ada") == Miss("miss")
    await load(index, entry("bob", 5))
    index.database_identity = "pg:1"
    assert await look(index, "bob") == Miss("miss")


async def test_nothing_is_asked_before_postgres_was_seen(redis_url: str) -> None:
    index = RankingIndex(Wire(redis_url, timeout=1), idle_ms=IDLE_MS)
    with pytest.raises(StoreUnavailable):
        await look(index, "ada")


async def test_a_key_of_another_type_is_a_miss_and_healed(index: RankingIndex, redis: Redis) -> None:
    await redis.set(RANKING.keys[0], "not ours")
    assert await look(index, "ada") == Miss("miss")
    await load(index, entry("ada", 5))
    await redis.delete(RANKING.keys[1])
    await redis.set(RANKING.keys[1], "not ours")
    assert await look(index, "ada") == Miss("miss")
    await load(index, entry("ada", 5))
    assert isinstance(await look(index, "ada"), Lookup)


async def test_an_apply_makes_nothing_where_nothing_is(index: RankingIndex, redis: Redis) -> None:
    (reply,) = await index.send([index.apply(RANKING, [entry("ada", 5)])])
    assert read_applied(RANKING, reply) == Miss("miss")
    assert await redis.keys("*") == []


async def test_versions_fence_applies(index: RankingIndex) -> None:
    await load(index, entry("ada", 5, version=10))
    for version, score in ((9, 7), (10, 8)):  # late, and twice
        (reply,) = await index.send([index.apply(RANKING, [entry("ada", score, version)])])
        applied = read_applied(RANKING, reply)
        assert isinstance(applied, Applied)
        assert applied.placed[0].score == 5
    (reply,) = await index.send([index.apply(RANKING, [entry("ada", 7, 11)])])
    applied = read_applied(RANKING, reply)
    assert isinstance(applied, Applied)
    assert applied.placed[0].score == 7


@pytest.mark.parametrize("ties", ["competition", "dense", "first"])
async def test_thousands_are_applied_at_once_as_if_one_by_one(index: RankingIndex, ties: Any) -> None:
    ranking = Ranking(1, 1, 0, ties, "desc")
    await load(index, *(Entry(f"u{i}", 1, i % 700, i % 13) for i in range(4500)), ranking=ranking)
    moved = {f"u{i}": Entry(f"u{i}", 2, None if i % 11 == 0 else i % 90, i % 7) for i in range(2250, 6750)}
    (reply,) = await index.send([index.apply(ranking, moved.values())])
    applied = read_applied(ranking, reply)
    assert isinstance(applied, Applied)
    before = {f"u{i}": (i % 700, i % 13, f"u{i}") for i in range(4500)}
    after = before | {e.user_id: (e.sort_key, e.tiebreak, e.user_id) for e in moved.values()}
    ranked = {user: place for user, place in after.items() if place[0] is not None}
    was, now = ranks_of(before, ties), ranks_of(ranked, ties)
    shared = Counter(place[0] for place in ranked.values())
    assert applied.stamp.total == len(ranked)
    for user, placed in zip(moved, applied.placed, strict=True):
        ties_now = shared[ranked[user][0]] if user in ranked else None
        assert (placed.previous_rank, placed.rank, placed.ties) == (was.get(user), now.get(user), ties_now)


def ranks_of(places: dict[str, Any], ties: str) -> dict[str, int]:
    """Reckon ranks the plain way, from (sort_key, tiebreak, user) by user."""
    keys = sorted(place[0] for place in places.values())
    if ties == "first":
        return {user: n for n, (user, _) in enumerate(sorted(places.items(), key=lambda p: p[1]), start=1)}
    distinct = sorted(set(keys)) if ties == "dense" else keys
    return {user: bisect_left(distinct, place[0]) + 1 for user, place in places.items()}


async def test_an_apply_beside_a_load_survives_an_older_chunk(index: RankingIndex) -> None:
    _, token = await index.begin(RANKING)
    await index.send([index.apply(RANKING, [entry("ada", 9, version=5), Entry("bob", 6, None, 0)])])
    await index.send([index.load(RANKING, token, [entry("ada", 1, version=4), entry("bob", 2, version=3)])])
    await index.finish(RANKING, token)
    found = await look(index, "ada", "bob")
    assert isinstance(found, Lookup)
    assert found.places == [Place(1, 1, 9, 0), None]


async def test_every_apply_while_loading_makes_a_new_version(index: RankingIndex) -> None:
    await index.begin(RANKING)
    versions = set()
    for version in range(3):
        miss = await look(index, "ada")
        assert isinstance(miss, Miss)
        assert miss.status == "loading"
        versions.add(miss.version)
        await index.send([index.apply(RANKING, [entry("ada", 9, version)])])
    assert len(versions) == 3


async def test_idle_copies_expire_all_keys_together(index: RankingIndex, redis: Redis) -> None:
    ranking = Ranking(2, 1, 0, "dense", "asc")
    await load(index, Entry("ada", 1, 5, 0), ranking=ranking)
    left = [await redis.pttl(key) for key in ranking.keys]
    assert 0 < left[0] <= IDLE_MS
    assert all(IDLE_MS < ttl <= IDLE_MS + 60_000 for ttl in left[1:])
    await redis.pexpire(ranking.keys[0], 1_000)
    await look(index, "ada", ranking=ranking)
    assert await redis.pttl(ranking.keys[0]) > 50_000


async def test_an_entry_applied_to_an_empty_copy_expires_too(index: RankingIndex, redis: Redis) -> None:
    await load(index)
    await index.send([index.apply(RANKING, [entry("ada", 5)])])
    assert [await redis.pttl(key) > 0 for key in RANKING.keys[:3]] == [True] * 3


@pytest.mark.parametrize("score", [MAX_SCORE, -MAX_SCORE, MAX_SCORE - 1, 0, 2**52 + 1])
async def test_scores_stay_exact(index: RankingIndex, score: int) -> None:
    await load(index, entry("ada", score))
    found = await look(index, "ada")
    assert isinstance(found, Lookup)
    assert found.places == [Place(1, 1, score, 0)]
    (reply,) = await index.send([index.page(RANKING, 0, 1)])
    window = read_window(RANKING, reply)
    assert isinstance(window, Window)
    assert window.rows is not None
    assert window.rows[0].place.score == score


async def test_a_held_page_is_not_sent_again(index: RankingIndex) -> None:
    token = await load(index, entry("ada", 5))
    (reply,) = await index.send([index.page(RANKING, 0, 10, f"{token}/0")])
    window = read_window(RANKING, reply)
    assert isinstance(window, Window)
    assert window.rows is None


async def test_a_change_below_the_hot_places_keeps_the_page(index: RankingIndex) -> None:
    await load(index, *(entry(f"u{i}", 1000 - i) for i in range(150)))
    pages = []
    for change in (entry("u149", 800, 2), entry("low", 1), entry("u149", 902, 3), entry("u149", 1, 4)):
        (reply,) = await index.send([index.apply(RANKING, [change])])
        applied = read_applied(RANKING, reply)
        assert isinstance(applied, Applied)
        pages.append(applied.stamp.page)
    assert pages == [0, 0, 1, 2]


async def test_scripts_lost_are_loaded_again(index: RankingIndex, redis: Redis) -> None:
    await load(index, entry("ada", 5))
    await redis.script_flush()
    with pytest.raises(StoreUnavailable):
        await look(index, "ada")
    assert isinstance(await look(index, "ada"), Lookup)


async def test_a_copy_given_up_is_a_miss_if_it_is_the_one_meant(index: RankingIndex) -> None:
    token = await load(index, entry("ada", 5))
    await index.send([index.drop(RANKING, "other")])
    assert isinstance(await look(index, "ada"), Lookup)
    await index.send([index.drop(RANKING, token)])
    assert await look(index, "ada") == Miss("miss")


async def test_what_a_copy_holds_can_be_told(index: RankingIndex) -> None:
    ranking = Ranking(3, 1, 0, "first", "desc")
    entries = [Entry("ada", 4, -5, 17), Entry("bob", 5, None, 3)]
    await load(index, *entries, ranking=ranking)
    (reply,) = await index.send([index.peek(ranking, ["ada", "bob", "cid"])])
    found: Any = read_held(["ada", "bob", "cid"], reply)
    assert found.entries == [*entries, None]


async def test_a_cut_connection_is_made_again(redis_url: str) -> None:
    async with wire(redis_url) as cable:
        connection = Wire(cable.url, timeout=0.2)
        index = RankingIndex(connection, idle_ms=IDLE_MS)
        index.database_identity = "pg:1"
        await load(index, entry("ada", 5))
        cable.silent = True
        with pytest.raises(StoreUnavailable):
            await look(index, "ada")
        await cable.heal()
        assert isinstance(await look(index, "ada"), Lookup)
        await connection.close()


async def test_an_apply_under_another_name_leaves_no_copy_that_lacks_it(
    index: RankingIndex, redis_url: str
) -> None:
    await load(index, entry("ada", 5))
    connection = Wire(redis_url, timeout=5)
    other = RankingIndex(connection, idle_ms=IDLE_MS)
    other.database_identity = "pg:2"
    (reply,) = await other.send([other.apply(RANKING, [entry("ada", 9, 2)])])
    assert read_applied(RANKING, reply) == Miss("miss")
    assert await look(index, "ada") == Miss("miss")
    await connection.close()


DENSE = Ranking(2, 1, 0, "dense", "desc")


@pytest.mark.parametrize("corrupt", [False, True])
async def test_a_dense_copy_without_its_distinct_scores_is_a_miss_and_loaded_anew(
    index: RankingIndex, redis: Redis, corrupt: bool
) -> None:
    entries = [entry("ada", 9), entry("bob", 9), entry("cy", 5)]
    await load(index, *entries, ranking=DENSE)
    await index.send([index.apply(DENSE, [entry("dee", 7, 2)])])
    await redis.delete(DENSE.keys[3])
    if corrupt:
        await redis.set(DENSE.keys[3], "nonsense")
    assert await look(index, "cy", ranking=DENSE) == Miss("miss")
    await load(index, *entries, ranking=DENSE)
    found = await look(index, "cy", ranking=DENSE)
    assert isinstance(found, Lookup)
    assert [place and place.rank for place in found.places] == [2]


async def test_a_copy_of_another_redis_is_a_miss(index: RankingIndex, redis: Redis) -> None:
    await load(index, entry("ada", 5))
    with embedded_valkey() as other_url:  # restored there from a dump, say
        other = Wire(other_url, timeout=5)
        copies = [("RESTORE", key, 0, await redis.dump(key)) for key in RANKING.keys[:3]]
        assert await other.send(copies) == [b"OK"] * 3
        there = RankingIndex(other, idle_ms=IDLE_MS)
        there.database_identity = "pg:1"
        assert await look(there, "ada") == Miss("miss")
        await other.close()
    assert isinstance(await look(index, "ada"), Lookup)


async def test_a_million_entries_hold_at_most_130_mb(index: RankingIndex, redis: Redis) -> None:
    count = 62_500  # fills its hash tables to what a million does
    before = (await redis.info("memory"))["used_memory_dataset"]
    _, token = await index.begin(RANKING)
    for start in range(0, count, 2_500):
        chunk = [entry(f"user{n}", n * n, version=10**6 + n) for n in range(start, start + 2_500)]
        await index.send([index.load(RANKING, token, chunk)])
    assert await index.finish(RANKING, token)
    assert ((await redis.info("memory"))["used_memory_dataset"] - before) / count < 130


async def test_a_server_that_became_a_replica_leaves_the_write_to_the_outbox(
    index: RankingIndex, redis: Redis
) -> None:
    await load(index, entry("ada", 5))
    await redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(StoreUnavailable, match="refuses"):
            await index.write({RANKING: [entry("ada", 6, version=2)]})
    finally:
        await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
