"""Users' profiles kept in Redis, as the fragment of JSON that entries carry; cache-aside, race-free.

Every game has a profile version, a random value that changes whenever any of its profiles does.
A refill is kept only if the version is still the one seen *before* Postgres was asked, and the
check and the write are one script: so an old read is never stored after an invalidation. The same
version tells rendered pages that a name on them may have changed. Keys die by TTL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

import orjson

from shared.postgres import Pool, translated
from shared.queries import load as load_queries
from shared.wire import SHA, Command, Line

NO_PROFILE = b'"display_name":null,"country":null'
"""What an entry shows of a user who never set a profile."""

_SQL = load_queries(Path(__file__).parent / "sql")


class Kept(NamedTuple):
    """What Redis knows: the game's profile version (None: there is none yet), a fragment or None each."""

    version: bytes | None
    fragments: list[bytes | None]


class Who(NamedTuple):
    """One user of one game."""

    game_id: int
    user_id: str


_CONTENT = {bytes, type(None)}


def fragment(display_name: str | None, country: str | None) -> bytes:
    """Encode what entries show of a profile."""
    if display_name is None and country is None:
        return NO_PROFILE
    return orjson.dumps({"display_name": display_name, "country": country})[1:-1]


def read(game_id: int, user_ids: Iterable[str]) -> Command:
    """Build the command that reads the game's profile version and the users' fragments."""
    return ("MGET", *_keys(game_id, user_ids))


def read_kept(reply: Any, count: int) -> Kept:
    """Read the reply to a `read` of `count` users; an error reply is as good as nothing kept."""
    if not isinstance(reply, list) or len(reply) != count + 1 or not _CONTENT.issuperset(map(type, reply)):
        return Kept(None, [None] * count)
    # An empty value is the usual profile, none at all, in the least memory.
    return Kept(reply[0], [NO_PROFILE if value == b"" else value for value in reply[1:]])


def remember(game_id: int, version: bytes | None, fragments: Mapping[str, bytes], ttl_ms: int) -> Command:
    """Build the command that keeps fragments read from Postgres after `version` was seen."""
    keys = _keys(game_id, fragments)
    values = [b"" if value == NO_PROFILE else value for value in fragments.values()]
    start = token_hex(8) if version is None else ""
    return ("EVALSHA", SHA["remember"], len(keys), *keys, version or b"", start, ttl_ms, *values)


def forget(game_id: int, user_ids: Sequence[str]) -> Command:
    """Build the command that invalidates profiles; to be sent after their change is committed."""
    keys = _keys(game_id, user_ids)
    return ("EVALSHA", SHA["forget"], len(keys), *keys, token_hex(8))


async def invalidate(line: Line, game_id: int, user_ids: Sequence[str]) -> None:
    """Make every later read see the profiles as they are in Postgres now.

    Raises:
        StoreUnavailable: Redis cannot be reached; what is kept there may be old until its TTL.
    """
    await line.send([forget(game_id, user_ids)])


async def fetch(pool: Pool, users: Sequence[Who]) -> dict[Who, bytes]:
    """Read fragments from Postgres in one statement; users it does not know have an empty profile.

    Raises:
        StoreUnavailable: Postgres cannot be asked.
    """
    found = dict.fromkeys(users, NO_PROFILE)
    with translated():
        query = _SQL["profiles_of_users"].sql
        rows = await pool.fetch(query, [who.game_id for who in users], [who.user_id for who in users])
    for row in rows:
        found[Who(row[0], row[1])] = fragment(row[2], row[3])
    return found


async def any_set(pool: Pool, game_id: int) -> bool:
    """Say whether any user of a game has a profile to show.

    Raises:
        StoreUnavailable: Postgres cannot be asked.
    """
    with translated():
        return bool(await pool.fetchval(_SQL["game_has_profiles"].sql, game_id))


def version_key(game_id: int) -> str:
    """Return the key of a game's profile version; its profiles lie beside it."""
    return f"{{p:{game_id}}}"


def _keys(game_id: int, user_ids: Iterable[str]) -> list[str]:
    # One hash tag for a game, so a page's profiles are one command on one node. No user id is empty.
    prefix = version_key(game_id)
    return [prefix, *(prefix + user_id for user_id in user_ids)]
