"""How the disposable copy is kept: committed entries are applied to the ranking index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from score_service.batch import Changed, EntryKey, users_of
from score_service.store import EntryRow
from shared.events import publish_entries
from shared.index import Applied, Lookup, Miss, Placed, RankingIndex
from shared.loading import Loader
from shared.ranking import Entry, Place, Ranking
from shared.sharding import look_up, placed_across

Places = dict[Ranking, dict[str, Placed]]
"""What was done to users, by ranking."""

MAX_WARM = 10_000
"""Rankings remembered as ready; past it they are looked at again."""


class Applier:
    """Applies entries to the index and finds their ranks.

    Args:
        index: the lookups' and applies' connection.
        loader: starts loads of rankings that have no index.
        patience: seconds from the start of a load for which a request waits for its end.
    """

    def __init__(self, index: RankingIndex, loader: Loader, *, patience: float) -> None:
        self._index = index
        self._loader = loader
        self._patience = patience
        self._warm: set[Ranking] = set()
        self._loads: dict[Ranking, float] = {}

    def any_cold(self, rankings: Iterable[Ranking]) -> bool:
        """Say whether one of these has not been seen ready lately."""
        return not self._warm.issuperset(rankings)

    async def warm(self, rankings: Iterable[Ranking]) -> None:
        """See to it that rankings have an index, so that ranks before and after are known.

        Starts loads of those not seen ready yet and waits for small ones to end.
        """
        if cold := [ranking for ranking in rankings if ranking not in self._warm]:
            await self._load(cold)

    async def _load(self, rankings: list[Ranking]) -> None:
        loop = asyncio.get_running_loop()
        tasks: dict[Ranking, asyncio.Task[None]] = {}
        for ranking in rankings:
            tasks[ranking] = self._loader.start(ranking)
            if ranking not in self._loads:
                self._loads[ranking] = loop.time()
                tasks[ranking].add_done_callback(partial(self._loaded, ranking))
        # Only the first moments of a load are waited for: a long one must not slow every request.
        left = max(self._loads.get(ranking, 0.0) for ranking in rankings) + self._patience - loop.time()
        if left > 0:
            await asyncio.wait(tasks.values(), timeout=left)
        for ranking, task in tasks.items():
            if task.done():
                self._remember(ranking)

    async def apply(self, batches: Sequence[Changed]) -> list[Places]:
        """Apply the entries of committed batches and publish that they changed, in one round trip.

        Returns where each stands, by ranking and user, for each batch; rankings without a ready index are
        absent. Those in shards take a second round trip, for all batches, to count in the other shards.

        Raises:
            StoreUnavailable: Redis could not be reached; the outbox keeps the batches.
        """
        users = [users_of(entries) for entries in batches]
        answers = await self._index.write_all(
            [{ranking: [*map(_entry, rows)] for ranking, rows in entries.items()} for entries in batches],
            [publish_entries(*changed) for each in users for changed in each.items()],
        )
        sharded = [{ranking: each[ranking] for ranking in each if ranking.shards > 1} for each in users]
        across: list[Places] = [{} for _ in batches]
        if any(sharded):
            across = await placed_across(self._index, list(zip(sharded, answers, strict=True)))
        return [self._placed(*each) for each in zip(users, answers, across, strict=True)]

    def _placed(
        self, users: dict[Ranking, list[str]], answers: Mapping[Ranking, Applied | Miss], placed: Places
    ) -> Places:
        for ranking, changed in users.items():
            if ranking not in placed:
                answer = answers.get(ranking)
                if not isinstance(answer, Applied):
                    self._warm.discard(ranking)
                    continue
                placed[ranking] = dict(zip(changed, answer.placed, strict=True))
            self._remember(ranking)
        return placed

    async def places(self, keys: Iterable[EntryKey]) -> dict[EntryKey, Place]:
        """Look up where users stand now; those of rankings without a ready index are absent.

        Raises:
            StoreUnavailable: Redis could not be reached.
        """
        parts: dict[Ranking, list[str]] = {}
        for ranking, user_id in keys:
            parts.setdefault(ranking, []).append(user_id)
        await self.warm(parts)
        answers = await look_up(self._index, parts)
        found: dict[EntryKey, Place] = {}
        for ranking, answer in answers.items():
            if isinstance(answer, Lookup):
                pairs = zip(parts[ranking], answer.places, strict=True)
                found.update(((ranking, user), place) for user, place in pairs if place is not None)
            else:
                self._warm.discard(ranking)
        return found

    def _loaded(self, ranking: Ranking, _: object) -> None:
        self._loads.pop(ranking, None)

    def _remember(self, ranking: Ranking) -> None:
        if len(self._warm) >= MAX_WARM:
            self._warm.clear()
        self._warm.add(ranking)


def _entry(row: EntryRow) -> Entry:
    return Entry(row.user_id, row.version, None if row.hidden else row.sort_key, row.tiebreak)
