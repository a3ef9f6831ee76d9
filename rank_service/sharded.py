"""Questions about a ranking in shards: asked of each, the answers put together (see `shared.sharding`).

A shard is asked as any ranking is, so questions of the moment join one round trip a node here as well.
Each shard is exact at some moment within the call; a ranking of which any shard is missing is missing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rank_service.envelopes import moment
from rank_service.index import HOT_PAGES, Asker
from rank_service.questions import (
    Answer,
    Around,
    Asked,
    Counted,
    Near,
    Page,
    Places,
    Question,
    Seen,
    Spread,
    Stood,
    Supposed,
    Tally,
    WhatIf,
)
from shared.index import Miss
from shared.profiles import Kept
from shared.ranking import HOT_PLACES, Place, Ranking, Row
from shared.sharding import across, buckets_of, edges, ends, merge_rows, stamp

MERGED_ROWS = 10_000
"""Rows read for one page; those of deeper pages are Postgres' to count."""

DEEP = Miss("deep")


class _Merged(NamedTuple):
    """A page, and the rows of the shards it was made of: current while these are."""

    windows: list[list[Row]]
    rows: list[Row]


class Sharded:
    """Asks rankings of one shard as they are, the others shard by shard."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._merged: OrderedDict[tuple[str, int, int], _Merged] = OrderedDict()

    def ask(self, question: Question) -> Awaitable[Any]:
        """Ask one question; gives its answer, a `Miss`, or raises StoreUnavailable."""
        return self._asker.ask(question) if question.ranking.shards == 1 else self._put_together(question)

    async def _put_together(self, question: Question) -> Answer | Miss:
        match question:
            case Places():
                return await self._places(question)
            case Page():
                return await self._page(question)
            case Around():
                return await self._around(question)
            case WhatIf():
                return await self._standing(question)
            case Spread():
                return await self._spread(question)

    async def _all(self, questions: Iterable[Asked]) -> list[Any] | Miss:
        """Ask shards at once; a miss of any is a miss."""
        answers = await asyncio.gather(*map(self._asker.ask, questions))
        missing = [answer for answer in answers if isinstance(answer, Miss)]
        # No version: what is kept while it loads would have to change with every shard.
        return Miss(min(missing, key=_urgency).status) if missing else answers

    async def _places(self, asked: Places) -> Stood | Miss:
        """Find users in their shards, then count in the others beside their scores."""
        ranking, game_id, user_ids = asked
        mine = ranking.split(user_ids)
        stood = await self._all(Places(part, game_id, tuple(users)) for part, users in mine.items())
        if isinstance(stood, Miss):
            return stood
        own = dict(zip(mine, stood, strict=True))
        keys = {part: _beside(part, own) for part in ranking.parts}
        # A shard that was asked about its users is asked again only if there are others to count beside.
        others = [part for part in ranking.parts if keys[part] or part not in own]
        found = await self._all(Tally(part, game_id, tuple(keys[part])) for part in others)
        if isinstance(found, Miss):
            return found
        counts = {
            part: dict(zip(keys[part], tally.counts, strict=True))
            for part, tally in zip(others, found, strict=True)
        }
        totals = {part: tally.stamp.total for part, tally in zip(others, found, strict=True)}
        totals |= {part: answer.total for part, answer in own.items()}
        places: dict[str, Place | None] = {}
        fragments: dict[str, bytes | None] = {}
        for part, users in mine.items():
            fragments.update(zip(users, own[part].profiles.fragments, strict=True))
            for user, place in zip(users, own[part].places, strict=True):
                places[user] = place and across(place, _others(part, place, counts))
        version = stood[0].profiles.version if stood else None
        return Stood(
            sum(totals.values()),
            max((answer.as_of for answer in stood), default=b""),
            [places[user] for user in user_ids],
            Kept(version, [fragments[user] for user in user_ids]),
        )

    async def _page(self, asked: Page) -> Seen | Miss:
        """Read as many rows of every shard as the page reaches deep, and merge them."""
        ranking, game_id, offset, limit = asked
        depth = offset + limit
        if depth * ranking.shards > MERGED_ROWS:
            return DEEP
        seen = await self._all(Page(part, game_id, 0, depth) for part in ranking.parts)
        if isinstance(seen, Miss):
            return seen
        windows = [each.rows for each in seen]
        key = (ranking.name, offset, limit)
        page = self._merged.get(key)
        # A shard's rows are the very same list for as long as it says its page is current.
        if page is None or not _same(page.windows, windows):
            page = _Merged(windows, merge_rows(ranking, windows)[offset:depth])
            if depth <= HOT_PLACES:
                self._merged[key] = page
                self._merged.move_to_end(key)
                if len(self._merged) > HOT_PAGES:
                    self._merged.popitem(last=False)
        return _seen(seen, page.rows)

    async def _around(self, asked: Around) -> Seen | Miss:
        """Read a user's neighbourhood in their shard, then in the others around the same place."""
        ranking, game_id, user_id, radius = asked
        own = ranking.part_of(user_id)
        first = await self._all([Around(own, game_id, user_id, radius)])
        if isinstance(first, Miss) or not first[0].rows:
            return first if isinstance(first, Miss) else _seen(first, [])
        place = next(row.place for row in first[0].rows if row.user_id == user_id)
        key = ranking.sort_key(place.score)
        rest = [part for part in ranking.parts if part != own]
        found = await self._all(Near(part, game_id, key, user_id, radius) for part in rest)
        if isinstance(found, Miss):
            return found
        seen = [*first, *found]
        rows = merge_rows(ranking, [each.rows for each in seen])
        at = next(i for i, row in enumerate(rows) if row.user_id == user_id)
        return _seen(seen, rows[max(0, at - radius) : at + radius + 1])

    async def _standing(self, asked: WhatIf) -> Supposed | Miss:
        """Add up who is better, and who has the score, in all shards."""
        found = await self._all(WhatIf(part, asked.game_id, asked.score) for part in asked.ranking.parts)
        if isinstance(found, Miss):
            return found
        better, ties = sum(each.rank - 1 for each in found), sum(each.ties for each in found)
        return Supposed(sum(each.total for each in found), found[-1].as_of, better + 1, ties)

    async def _spread(self, asked: Spread) -> Counted | Miss:
        """Find the least and the greatest score of all shards, then count in each between the same edges."""
        ranking, game_id, buckets = asked
        found = await self._all(Tally(part, game_id, ()) for part in ranking.parts)
        if isinstance(found, Miss):
            return found
        reach = ends(found)
        starts = edges(*reach, buckets) if reach else []
        counted = await self._all(Tally(part, game_id, tuple(starts)) for part in ranking.parts)
        if isinstance(counted, Miss):
            return counted
        total = sum(each.stamp.total for each in counted)
        ranges = buckets_of(ranking, reach, starts, counted) if reach else []
        return Counted(total if reach else 0, moment(), ranges)


def _beside(part: Ranking, own: Mapping[Ranking, Stood]) -> dict[int, None]:
    """Return the sort keys of the users in other shards."""
    return {
        part.sort_key(place.score): None
        for other, stood in own.items()
        if other != part
        for place in stood.places
        if place is not None
    }


def _others(
    own: Ranking, place: Place, counts: Mapping[Ranking, Mapping[int, tuple[int, int]]]
) -> list[tuple[int, int]]:
    key = own.sort_key(place.score)
    return [found[key] for part, found in counts.items() if part != own]


def _seen(seen: Sequence[Seen], rows: list[Row]) -> Seen:
    last = seen[-1]
    return Seen(stamp(each.stamp for each in seen), last.as_of, rows, last.profile_version)


def _same(held: Sequence[object], now: Sequence[object]) -> bool:
    return all(a is b for a, b in zip(held, now, strict=True)) if len(held) == len(now) else False


def _urgency(miss: Miss) -> int:
    return 0 if miss.status == "miss" else 1
