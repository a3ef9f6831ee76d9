"""Where players stood yesterday, for `rank_change`: asked of Postgres once a day for each, then kept.

The index is not asked, so an entry costs the round trips it always did; a ranking without a snapshot costs
one question a minute. What cannot be told soon is null: the rank itself does not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from time import monotonic, time
from typing import Literal, NamedTuple

from rank_service.store import Store
from shared.coalesce import Coalescer
from shared.errors import LeaderboardError, StoreUnavailable
from shared.ranking import Ranking

KEPT = 200_000
"""Ranks kept in process, some 100 bytes each; past it all are forgotten."""

BATCH = 500
"""Ranks asked for by one statement."""

QUEUE = 5_000
"""Ranks waiting for a statement; past it they are null."""

PATIENCE = 0.1
"""Seconds after which an answer goes out without."""

DAY = 86_400
"""Seconds of a day; days are counted from 1970-01-01, UTC."""

LOOK_AGAIN = 60.0
"""Seconds after which a ranking that had no snapshot is looked at again."""


class Asked(NamedTuple):
    """One user's rank on one ranking."""

    ranking: Ranking
    user_id: str


class Yesterday:
    """Knows yesterday's ranks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._day = 0
        self._ranks: dict[Asked, int | None] = {}
        self._without: dict[Ranking, float] = {}
        self._forgettings = 0
        """How often something was forgotten: what was asked before may be of what was."""
        self._asking: Coalescer[Asked, int | None] = Coalescer(
            self._ask, name="ask for yesterday", batch=BATCH, queue=QUEUE
        )

    def known(self, ranking: Ranking, user_id: str) -> int | Literal[False] | None:
        """Return a user's rank in yesterday's snapshot; None when not in that, False when to be asked for."""
        today = int(time()) // DAY
        if today != self._day or len(self._ranks) >= KEPT:
            self._day = today
            self._ranks.clear()
            self._without.clear()
        if (looked := self._without.get(ranking)) is not None and monotonic() - looked < LOOK_AGAIN:
            return None
        return self._ranks.get(Asked(ranking, user_id), False)

    async def rank(self, ranking: Ranking, user_id: str) -> int | None:
        """Return a user's rank in yesterday's snapshot; None when not in that, or not told soon."""
        known = self.known(ranking, user_id)
        if known is not False:
            return known
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._asking.get(Asked(ranking, user_id))
        except (StoreUnavailable, LeaderboardError, TimeoutError):
            return None

    def forget(self, user_id: str) -> None:
        """Forget what is kept of a user: the id may have become another's."""
        self._forgettings += 1
        for asked in [each for each in self._ranks if each.user_id == user_id]:
            del self._ranks[asked]

    def forget_all(self) -> None:
        """Forget what is kept of everyone: an erasure may have gone unheard."""
        self._forgettings += 1
        self._ranks.clear()

    async def close(self) -> None:
        """Wait for the statement under way."""
        await self._asking.close()

    async def _ask(self, asked: Sequence[Asked]) -> list[int | None]:
        day, forgettings = self._day, self._forgettings
        rows = await self._store.ranks_on_day(date(1970, 1, 1) + timedelta(days=day - 1), asked)
        for item, (taken, rank) in zip(asked, rows, strict=True):
            if not taken:
                self._without[item.ranking] = monotonic()
            elif day == self._day and forgettings == self._forgettings:
                self._ranks[item] = rank
        return [rank for _, rank in rows]
