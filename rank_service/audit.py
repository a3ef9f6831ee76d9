"""Does the index say what Postgres says? Entries are compared all the time, repaired, and counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import Counter

from rank_service.store import SQL
from shared.index import Held, Miss, RankingIndex, read_held
from shared.postgres import Pool, translated
from shared.ranking import Entry, Ranking
from shared.wire import Command

log = logging.getLogger(__name__)

SAMPLE = 200
"""Entries compared at once, in each direction."""

SETTLE = 1.0
"""Seconds a difference must last: a write may be committed and not applied yet."""

COUNTS = 3
"""Times the numbers of entries must differ in a row, between two equal readings of the index."""

CHECKED = Counter("leaderboard_audit_checked_total", "Entries of the index compared with Postgres.")
DRIFT = Counter("leaderboard_audit_drift_total", "Differences found, by what was done.", ["repair"])
for _repair in ("applied", "reloaded"):
    DRIFT.labels(_repair)  # from zero: what begins with its first count shows no increase


class Walk(NamedTuple):
    """How far an audit of one ranking has come, in each direction."""

    after: str = ""
    cursor: int = 0
    shard: int = 0


class Auditor:
    """Walks through rankings in use, a sample at a time, in both directions.

    Args:
        index: a connection that is not the lookups'.
        pool: the primary: what is compared must be the newest.
        rankings: those in use.
    """

    def __init__(self, index: RankingIndex, pool: Pool, rankings: Callable[[], Sequence[Ranking]]) -> None:
        self._index = index
        self._pool = pool
        self._rankings = rankings
        self._walks: dict[Ranking, Walk] = {}
        self._turn = 0

    async def step(self) -> None:
        """Compare one sample of the ranking whose turn it is."""
        rankings = self._rankings()
        if not rankings:
            return
        self._turn += 1
        ranking = rankings[self._turn % len(rankings)]
        self._walks = {each: walk for each, walk in self._walks.items() if each in rankings}
        walk = self._walks.get(ranking, Walk())
        self._walks[ranking] = await self.sample(ranking, walk)

    async def sample(self, ranking: Ranking, walk: Walk) -> Walk:
        """Compare the next entries on both sides; return where to go on, from the start after the end."""
        rows = await self._entries("entries_from", ranking, walk.after, SAMPLE)
        part = ranking.parts[walk.shard % ranking.shards]
        scan: Command = ("HSCAN", part.keys[2], walk.cursor, "COUNT", SAMPLE)
        (reply,) = await self._index.send([], [scan])
        cursor, fields = (int(reply[0]), reply[1][::2]) if isinstance(reply, list) else (0, [])
        shard = walk.shard if cursor else (walk.shard + 1) % ranking.shards
        users = dict.fromkeys([*(entry.user_id for entry in rows), *(field.decode() for field in fields)])
        await self.compare(ranking, list(users))
        if len(rows) == SAMPLE:
            return Walk(rows[-1].user_id, cursor, shard)
        await self._compare_counts(ranking)
        return Walk("", cursor, shard)

    async def compare(self, ranking: Ranking, users: Sequence[str]) -> int:
        """Compare users' entries on both sides; repair what differs for long; return how much did."""
        return sum([await self._compare(part, mine) for part, mine in ranking.split(users).items()])

    async def _compare(self, ranking: Ranking, users: Sequence[str]) -> int:
        if not users or not (wrong := await self._different(ranking, dict.fromkeys(users))):
            return 0
        await asyncio.sleep(SETTLE)
        if not (wrong := await self._different(ranking, wrong)):
            return 0
        names = {"ranking": ranking.name, "users": list(wrong)[:10]}
        log.error("the index differs from Postgres", extra=names)
        entries = await self._entries("entries_named", ranking, list(wrong))
        await self._index.send([self._index.apply(ranking, entries)])
        if await self._different(ranking, {entry.user_id: entry.version for entry in entries} or wrong):
            # Not a matter of a lost apply: what is there is wrong in itself.
            await self._drop(ranking)
            DRIFT.labels("reloaded").inc(len(wrong))
        else:
            DRIFT.labels("applied").inc(len(wrong))
        return len(wrong)

    async def _different(self, ranking: Ranking, users: Mapping[str, int | None]) -> dict[str, int | None]:
        """Return the users of whom the index holds something else, with the version it should have.

        `users` names the version each must have reached (None: the one Postgres has now). None
        differs while the index is not ready.
        """
        # The index first: what it holds must be in Postgres by the time that is asked.
        held = await self._held(ranking, list(users))
        if held is None:
            return {}
        CHECKED.inc(len(users))
        truth = {entry.user_id: entry for entry in await self._entries("entries_named", ranking, list(users))}
        return {
            user_id: truth[user_id].version if user_id in truth else None
            for (user_id, due), found in zip(users.items(), held.entries, strict=True)
            if not agree(ranking, truth.get(user_id), found, due)
        }

    async def _compare_counts(self, ranking: Ranking) -> None:
        for _ in range(COUNTS):
            before = [await self._held(part, []) for part in ranking.parts]
            with translated():
                count = await self._pool.fetchval(SQL["count_of_ranking"], *_key(ranking))
            after = [await self._held(part, []) for part in ranking.parts]
            if None in before or before != after or count == sum(each.stamp.total for each in after if each):
                return
            await asyncio.sleep(SETTLE)
        log.error("the index has another number of entries", extra={"ranking": ranking.name})
        DRIFT.labels("reloaded").inc()
        for part in ranking.parts:  # which of them, the number does not tell
            await self._drop(part)

    async def _held(self, ranking: Ranking, users: Sequence[str]) -> Held | None:
        (reply,) = await self._index.send([self._index.peek(ranking, users)])
        held = read_held(users, reply)
        return None if isinstance(held, Miss) else held

    async def _drop(self, ranking: Ranking) -> None:
        held = await self._held(ranking, [])
        if held is not None:
            await self._index.send([self._index.drop(ranking, held.stamp.token)])

    async def _entries(self, query: str, ranking: Ranking, *args: Any) -> list[Entry]:
        with translated():
            rows: Iterable[Any] = await self._pool.fetch(SQL[query], *_key(ranking), *args)
        return [Entry(*row) for row in rows]


def agree(ranking: Ranking, truth: Entry | None, held: Entry | None, due: int | None = None) -> bool:
    """Say whether the index holds what Postgres says of one user; the index was asked first.

    One behind Postgres' answer is right all the same if it has reached the version that was `due` (by default
    Postgres' own): the rest may be on its way. One ahead of it refuses what comes, and is wrong.
    """
    if truth is None:
        return held is None or held.sort_key is None
    if held is None:
        return truth.sort_key is None
    if held.version != truth.version:
        return (truth.version if due is None else due) <= held.version < truth.version
    tiebreak = held.tiebreak if ranking.ties == "first" else truth.tiebreak
    return held.sort_key == truth.sort_key and (held.sort_key is None or tiebreak == truth.tiebreak)


def _key(ranking: Ranking) -> tuple[int, int, int]:
    return ranking.leaderboard_id, ranking.generation, ranking.season
