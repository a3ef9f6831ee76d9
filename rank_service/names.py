"""Profiles for the entries of an answer: from Redis, else from Postgres in batches, kept for the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rank_service.index import Lookups, Names
from shared import profiles
from shared.coalesce import Coalescer
from shared.errors import StoreUnavailable
from shared.postgres import Pool
from shared.profiles import NO_PROFILE, Kept, Who

BATCH = 1_000
"""Profiles read by one statement."""


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

    def __init__(self, lookups: Lookups, pool: Pool, *, ttl_ms: int) -> None:
        self._lookups = lookups
        self._pool = pool
        self._ttl_ms = ttl_ms
        self._coalescer: Coalescer[Wanted, bytes] = Coalescer(
            self._fetch, batch=BATCH, queue=100 * BATCH, lanes=2
        )

    async def of(self, game_id: int, user_ids: Sequence[str]) -> Named:
        """Return the fragments of users; asks Redis first."""
        if not user_ids:
            return Named([], True)
        try:
            kept = await self._lookups.ask(Names(game_id, tuple(user_ids)))
        except StoreUnavailable:
            return await self._rest(game_id, user_ids, Kept(None, [None] * len(user_ids)), keep=False)
        if not isinstance(kept, Kept):
            raise TypeError("names are never a miss")
        return await self.complete(game_id, user_ids, kept)

    async def complete(self, game_id: int, user_ids: Sequence[str], kept: Kept) -> Named:
        """Add to what Redis had what it had not."""
        return await self._rest(game_id, user_ids, kept, keep=True)

    async def close(self) -> None:
        """Wait for the statements under way."""
        await self._coalescer.close()

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
            self._lookups.send_along(profiles.remember(game_id, version, fragments, self._ttl_ms))
        return [found[item.who] for item in wanted]
