"""Profiles for the entries of an answer: from Redis, else from Postgres in batches, kept for the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from rank_service.index import Asker
from rank_service.questions import Names
from shared import profiles
from shared.coalesce import Coalescer
from shared.errors import StoreUnavailable
from shared.postgres import Pool
from shared.profiles import NO_PROFILE, Kept, Who

BATCH = 1_000
"""Profiles read by one statement."""

GAMES = 10_000
"""Games remembered to have no profiles; past it all are forgotten."""


class Wanted(NamedTuple):
    """A profile Redis does not have; `version` is the game's, seen before Postgres is asked."""

    who: Who
    version: bytes | None
    keep: bool


class Named(NamedTuple):
    """Fragments in order; not `whole` when Postgres could not be asked for some: those are empty."""

    fragments: list[bytes]
    whole: bool


class Profiles:
    """Finds what entries show of their users.

    Args:
        lookups: where refills go along with the next round trip.
        pool: for what Redis does not have.
        ttl_ms: how long a refill is kept.
    """

    def __init__(self, lookups: Asker, pool: Pool, *, ttl_ms: int) -> None:
        self._lookups = lookups
        self._pool = pool
        self._ttl_ms = ttl_ms
        self._coalescer: Coalescer[Wanted, bytes] = Coalescer(
            self._fetch, batch=BATCH, queue=100 * BATCH, lanes=2
        )
        self._plain = _Plain(pool)

    async def of(self, game_id: int, user_ids: Sequence[str], version: bytes | None = None) -> Named:
        """Return the fragments of users; asks Redis first, if `version` (seen just now) does not tell."""
        if not user_ids or self._plain.holds(game_id, version):
            return Named([NO_PROFILE] * len(user_ids), True)
        try:
            kept = await self._lookups.ask(Names(game_id, tuple(user_ids)))
        except StoreUnavailable:
            return await self._rest(game_id, user_ids, Kept(None, [None] * len(user_ids)), keep=False)
        if not isinstance(kept, Kept):
            raise TypeError("names are never a miss")
        return await self.complete(game_id, user_ids, kept)

    def known(self, game_id: int, kept: Kept) -> list[bytes] | None:
        """Return the fragments if nothing has to be asked for."""
        if self._plain.holds(game_id, kept.version):
            return [NO_PROFILE if found is None else found for found in kept.fragments]
        whole = [found for found in kept.fragments if found is not None]
        return whole if len(whole) == len(kept.fragments) else None

    async def complete(self, game_id: int, user_ids: Sequence[str], kept: Kept) -> Named:
        """Add to what Redis had what it had not."""
        if self._plain.holds(game_id, kept.version):
            return Named([NO_PROFILE if found is None else found for found in kept.fragments], True)
        return await self._rest(game_id, user_ids, kept, keep=True)

    async def close(self) -> None:
        """Wait for the statements under way."""
        await self._coalescer.close()
        await self._plain.close()

    async def _rest(self, game_id: int, user_ids: Sequence[str], kept: Kept, *, keep: bool) -> Named:
        # All are queued before the first is awaited, so they share a statement.
        waiting = [
            self._coalescer.get(Wanted(Who(game_id, user_id), kept.version, keep)) if found is None else found
            for user_id, found in zip(user_ids, kept.fragments, strict=True)
        ]
        whole = True
        fragments: list[bytes] = []
        for found in waiting:
            try:
                fragments.append(found if isinstance(found, bytes) else await found)
            except StoreUnavailable:
                # The rank is known and exact: an answer without names serves better than none.
                fragments.append(NO_PROFILE)
                whole = False
        return Named(fragments, whole)

    async def _fetch(self, wanted: Sequence[Wanted]) -> list[bytes]:
        found = await profiles.fetch(self._pool, list(dict.fromkeys(item.who for item in wanted)))
        refills: dict[tuple[int, bytes | None], dict[str, bytes]] = {}
        for who, version, keep in wanted:
            if keep:
                refills.setdefault((who.game_id, version), {})[who.user_id] = found[who]
        for (game_id, version), fragments in refills.items():
            if version is not None and all(each == NO_PROFILE for each in fragments.values()):
                self._plain.suspect(game_id, version)
            self._lookups.send_along(profiles.remember(game_id, version, fragments, self._ttl_ms))
        return [found[item.who] for item in wanted]


class _Plain:
    """Games none of whose users shows a profile: there, nobody's needs to be read, one by one.

    True of a game as long as its profile version is the one seen before Postgres was asked.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._versions: dict[int, bytes | None] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def holds(self, game_id: int, version: bytes | None) -> bool:
        """Say whether the game is known to have no profiles at this version."""
        return version is not None and self._versions.get(game_id) == version

    def suspect(self, game_id: int, version: bytes) -> None:
        """Find out about a game, unless it is known to have profiles."""
        if game_id in self._tasks or self._versions.get(game_id, version) is None:
            return
        task = asyncio.create_task(self._ask(game_id, version), name=f"profiles of game {game_id}")
        self._tasks[game_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(game_id, None))

    async def close(self) -> None:
        """Stop finding out."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, game_id: int, version: bytes) -> None:
        with suppress(StoreUnavailable):
            found = await profiles.any_set(self._pool, game_id)
            if len(self._versions) >= GAMES:
                self._versions.clear()
            # A game that has profiles will hardly lose all of them: it is not asked about again.
            self._versions[game_id] = None if found else version
