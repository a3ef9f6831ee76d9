"""Profiles kept in Redis are never older than the last invalidation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from shared import profiles
from shared.postgres import Pool
from shared.profiles import NO_PROFILE, Kept, Who
from shared.wire import Command, Wire
from tests.rank import put_board

TTL_MS = 60_000


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[Wire]:
    wire = Wire(redis_url, timeout=5)
    yield wire
    await wire.close()


async def send(wire: Wire, *commands: Command) -> list[Any]:
    return await wire.round_trip(await wire.connect(), commands)


async def kept(wire: Wire, *users: str, game_id: int = 1) -> Kept:
    (reply,) = await send(wire, profiles.read(game_id, users))
    return profiles.read_kept(reply, len(users))


async def remember(wire: Wire, version: bytes | None, **fragments: bytes) -> None:
    await send(wire, profiles.remember(1, version, fragments, TTL_MS))


async def version_of(wire: Wire) -> bytes:
    await remember(wire, None, nobody=b"x")
    version = (await kept(wire)).version
    assert version is not None
    return version


async def test_nothing_is_kept_at_first(wire: Wire) -> None:
    assert await kept(wire, "ada", "bob") == Kept(None, [None, None])


async def test_what_is_remembered_is_read(wire: Wire) -> None:
    version = await version_of(wire)
    await remember(wire, version, ada=b'"display_name":"Ada"', bob=NO_PROFILE)
    assert await kept(wire, "ada", "bob") == Kept(version, [b'"display_name":"Ada"', NO_PROFILE])


async def test_without_a_version_nothing_is_kept(wire: Wire) -> None:
    await remember(wire, None, ada=b"old")
    assert (await kept(wire, "ada")).fragments == [None]


async def test_an_old_read_is_not_kept_after_an_invalidation(wire: Wire) -> None:
    seen = await version_of(wire)
    await profiles.invalidate(wire, 1, ["ada"])
    await remember(wire, seen, ada=b"old")
    found = await kept(wire, "ada")
    assert found.fragments == [None]
    assert found.version != seen


async def test_an_invalidation_forgets_the_users_named_only(wire: Wire) -> None:
    version = await version_of(wire)
    await remember(wire, version, ada=b"a", bob=b"b")
    await profiles.invalidate(wire, 1, ["ada"])
    assert (await kept(wire, "ada", "bob")).fragments == [None, b"b"]


async def test_a_version_lost_does_not_come_back(wire: Wire) -> None:
    seen = await version_of(wire)
    await send(wire, ("FLUSHDB",))
    await remember(wire, seen, ada=b"old")
    assert await kept(wire, "ada") == Kept(None, [None])
    assert await version_of(wire) != seen


async def test_games_do_not_share_profiles(wire: Wire) -> None:
    await remember(wire, await version_of(wire), ada=b"a")
    assert (await kept(wire, "ada", game_id=2)).fragments == [None]


async def test_what_is_kept_dies_by_itself(wire: Wire) -> None:
    await remember(wire, await version_of(wire), ada=b"a")
    (left,) = await send(wire, ("PTTL", "{p:1}ada"))
    assert 0 < left <= TTL_MS


async def test_a_key_of_another_type_is_nothing_kept(wire: Wire) -> None:
    await send(wire, ("HSET", "{p:1}", "a", "b"))
    assert await kept(wire, "ada") == Kept(None, [None])


@pytest.mark.parametrize(
    ("name", "country"), [("Ada", "GB"), (None, "GB"), ('"},{"rank":1', None), ("é\u2028🎮", "FR")]
)
async def test_fragments_are_parts_of_json(pool: Pool, name: str | None, country: str | None) -> None:
    game_id = (await put_board(pool)).game_id
    await pool.execute("INSERT INTO users VALUES ($1, 'ada', $2, $3)", game_id, name, country)
    found = await profiles.fetch(pool, [Who(game_id, "ada"), Who(game_id, "zoe")])
    assert orjson.loads(b"{%b}" % found[Who(game_id, "ada")]) == {"display_name": name, "country": country}
    assert found[Who(game_id, "zoe")] == NO_PROFILE


async def test_no_reader_sees_a_name_older_than_the_last_answered_change(
    wire: Wire, pool: Pool, rng: random.Random
) -> None:
    game_id = (await put_board(pool)).game_id
    await pool.execute("INSERT INTO users VALUES ($1, 'ada', '0')", game_id)
    answered = 0

    async def change() -> None:
        nonlocal answered
        for name in range(1, 150):
            await pool.execute("UPDATE users SET display_name = $1", str(name))
            await profiles.invalidate(wire, game_id, ["ada"])
            answered = name

    async def read() -> None:
        while answered < 149:
            known = answered
            found = await look(wire, pool, game_id, rng)
            assert int(orjson.loads(b"{%b}" % found)["display_name"]) >= known

    await asyncio.gather(change(), *(read() for _ in range(4)))


async def look(wire: Wire, pool: Pool, game_id: int, rng: random.Random) -> bytes:
    """Read a profile cache-aside, with pauses where a race could hide."""
    found = await kept(wire, "ada", game_id=game_id)
    if found.fragments[0] is not None:
        return found.fragments[0]
    who = Who(game_id, "ada")
    fresh = await profiles.fetch(pool, [who])
    for _ in range(rng.randrange(3)):
        await asyncio.sleep(0)
    refill: Sequence[Command] = [profiles.remember(game_id, found.version, {"ada": fresh[who]}, TTL_MS)]
    await send(wire, *refill)
    return fresh[who]
