"""What is true of a ranking cut into shards: put together from what is true of each.

Ranks are by competition: one more than the players with a better score, wherever these are. Every
shard is exact at some moment within the call that asks it; shards are not asked at one moment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from shared.index import (
    Applied,
    Bucket,
    Lookup,
    Miss,
    Placed,
    RankingIndex,
    Stamp,
    Tally,
    read_lookup,
    read_tally,
)
from shared.ranking import Place, Ranking, Row
from shared.wire import NONSENSE


def stamp(stamps: Iterable[Stamp]) -> Stamp:
    """Return the stamp of the whole: the versions of all parts, and how many there are in all."""
    known = list(stamps)
    versions = " ".join(f"{each.token}/{each.page}" for each in known)
    return Stamp(versions, 0, sum(each.total for each in known))


def merge_rows(ranking: Ranking, windows: Sequence[Sequence[Row]]) -> list[Row]:
    """Merge consecutive rows of every part, and reckon their places in the whole.

    The places of a row are right if no part has rows that belong before or beside it outside its window.
    """
    order = sorted((ranking.sort_key(row.place.score), row.user_id) for rows in windows for row in rows)
    cursors = [_Cursor(ranking, rows) for rows in windows]
    merged: list[Row] = []
    place = Place(0, 0, 0, 0)
    last: int | None = None
    for sort_key, user_id in order:
        if sort_key != last:
            found = [cursor.count(sort_key) for cursor in cursors]
            better, ties = sum(each[0] for each in found), sum(each[1] for each in found)
            place = Place(better + 1, ties, ranking.score(sort_key), better)
            last = sort_key
        merged.append(Row(user_id, place))
    return merged


class _Cursor:
    """Goes through one part's rows, from the best on."""

    def __init__(self, ranking: Ranking, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._keys = [ranking.sort_key(row.place.score) for row in rows]

    def count(self, sort_key: int) -> tuple[int, int]:
        """Return how many of the part are better than a key, and how many are on it."""
        at = bisect_left(self._keys, sort_key)
        if at < len(self._rows):
            place = self._rows[at].place
            return place.better, place.ties if self._keys[at] == sort_key else 0
        last = self._rows[-1].place if self._rows else None
        return (last.better + last.ties, 0) if last else (0, 0)


def across(own: Place, others: Iterable[tuple[int, int]]) -> Place:
    """Return a place in the whole from the one in its own part and (better, ties) in the others."""
    better, ties = own.better, own.ties
    for more_better, more_ties in others:
        better += more_better
        ties += more_ties
    return Place(better + 1, ties, own.score, better)


def edges(least: int, greatest: int, buckets: int) -> list[int]:
    """Return the least key of each of equal ranges but the first, as `histogram.lua` cuts them."""
    span = greatest - least + 1
    buckets = min(buckets, span)
    width, wider = divmod(span, buckets)
    return [least + i * width + i * wider // buckets for i in range(1, buckets)]


def ends(parts: Iterable[Tally]) -> tuple[int, int] | None:
    """Return the least and the greatest key of all parts; None when these are empty."""
    known = [key for part in parts for key in (part.least, part.greatest) if key is not None]
    return (min(known), max(known)) if known else None


def buckets_of(
    ranking: Ranking, reach: tuple[int, int], starts: Sequence[int], parts: Sequence[Tally]
) -> list[Bucket]:
    """Return the ranges of `reach` that begin at `starts` (and the one before), with all parts' players.

    Should there be players outside by now, the first and the last one reach as far.
    """
    now = ends(parts) or reach
    total = sum(part.stamp.total for part in parts)
    below = [sum(part.counts[i][0] for part in parts) for i in range(len(starts))]
    counts = [b - a for a, b in zip([0, *below], [*below, total], strict=True)]
    lows = [min(reach[0], now[0]), *starts]
    highs = [*(start - 1 for start in starts), max(reach[1], now[1])]
    scores = [(ranking.score(a), ranking.score(b)) for a, b in zip(lows, highs, strict=True)]
    return sorted(Bucket(min(a, b), max(a, b), count) for (a, b), count in zip(scores, counts, strict=True))


async def look_up(
    index: RankingIndex, asked: Mapping[Ranking, Sequence[str]]
) -> dict[Ranking, Lookup | Miss]:
    """Find where users stand; of rankings in shards in a second round trip, which counts in the others.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    parts = [
        (part, users) for ranking, wanted in asked.items() for part, users in ranking.split(wanted).items()
    ]
    replies = await index.send([index.lookup(part, users) for part, users in parts])
    try:
        found = {part: read_lookup(part, reply) for (part, _), reply in zip(parts, replies, strict=True)}
    except NONSENSE as error:
        raise await index.distrust() from error
    places: dict[tuple[Ranking, str], Place] = {}
    for part, users in parts:
        answer = found[part]
        if isinstance(answer, Lookup):
            pairs = zip(users, answer.places, strict=True)
            places.update(((part, user), place) for user, place in pairs if place is not None)
    tallies = await tally(index, [ranking for ranking in asked if ranking.shards > 1], places)
    whole: dict[Ranking, Lookup | Miss] = {}
    for ranking, wanted in asked.items():
        if ranking.shards == 1:
            whole[ranking] = found.get(ranking, Miss("miss"))
            continue
        counted = tallies.get(ranking)
        if counted is None or any(isinstance(found.get(part), Miss) for part in ranking.parts):
            whole[ranking] = Miss("miss")
            continue
        mine = [(ranking.part_of(user), user) for user in wanted]
        whole[ranking] = Lookup(
            stamp(counted.stamps), [counted.place(part, places.get((part, user))) for part, user in mine]
        )
    return whole


class Counted:
    """How many of each part of a ranking are better than, and on, some sort keys."""

    def __init__(self, ranking: Ranking, keys: Sequence[int], tallies: Mapping[Ranking, Tally]) -> None:
        self._ranking = ranking
        self._at = {key: i for i, key in enumerate(keys)}
        self._tallies = tallies
        self.stamps = [part.stamp for part in tallies.values()]

    def place(self, own: Ranking, place: Place | None) -> Place | None:
        """Return a place in the whole from the one in a user's own part."""
        if place is None:
            return None
        return across(place, self.beside(own, self._ranking.sort_key(place.score)).values())

    def beside(self, own: Ranking, sort_key: int) -> dict[Ranking, tuple[int, int]]:
        """Return (better, ties) in each of the parts but a user's own."""
        at = self._at[sort_key]
        return {part: tally.counts[at] for part, tally in self._tallies.items() if part != own}


async def tally(
    index: RankingIndex, rankings: Iterable[Ranking], places: Mapping[tuple[Ranking, str], Place]
) -> dict[Ranking, Counted]:
    """Count in every part of rankings beside the places of users; those not ready as a whole are absent."""
    keys: dict[Ranking, dict[int, None]] = {ranking: {} for ranking in rankings}
    for (part, _), place in places.items():
        if part.whole in keys:
            keys[part.whole][part.sort_key(place.score)] = None
    return await tally_keys(index, keys)


async def tally_keys(index: RankingIndex, keys: Mapping[Ranking, Iterable[int]]) -> dict[Ranking, Counted]:
    """Count in every part of rankings beside sort keys; those not ready as a whole are absent."""
    asked = {ranking: list(each) for ranking, each in keys.items()}
    parts = [(part, wanted) for ranking, wanted in asked.items() for part in ranking.parts]
    if not parts:
        return {}
    replies = await index.send([index.tally(part, wanted) for part, wanted in parts])
    try:
        found = {part: read_tally(reply) for (part, _), reply in zip(parts, replies, strict=True)}
    except NONSENSE as error:
        raise await index.distrust() from error
    counted: dict[Ranking, Counted] = {}
    for ranking, wanted in asked.items():
        tallies = {part: answer for part in ranking.parts if isinstance(answer := found[part], Tally)}
        if len(tallies) == ranking.shards:
            counted[ranking] = Counted(ranking, wanted, tallies)
    return counted


Moves = Mapping[Ranking, Mapping[str, Placed]]
"""What applies did to users, by the part they are in."""


async def placed_across(
    index: RankingIndex,
    batches: Sequence[tuple[Mapping[Ranking, Sequence[str]], Mapping[Ranking, Applied | Miss]]],
) -> list[dict[Ranking, dict[str, Placed]]]:
    """Return what applies to the parts of rankings did to their users, by rank in the whole, for each batch.

    The rank before is told by the other parts as of a moment within the call, with what the batch
    changed in them taken back. Rankings of which some part is not ready are absent.

    Args:
        batches: users by ranking, in the order they were applied in, and what became of each part that
            was written to.
    """
    moved = [_moves(changed, answers) for changed, answers in batches]
    keys: dict[Ranking, dict[int, None]] = {}
    for moves in moved:
        for ranking, parts in moves.items():
            places = (each for mine in parts.values() for each in mine.values())
            scores = (score for each in places for score in (each.score, each.previous_score))
            wanted = {ranking.sort_key(score): None for score in scores if score is not None}
            keys.setdefault(ranking, {}).update(wanted)
    counted = await tally_keys(index, keys)
    return [
        {
            ranking: {
                user: placed
                for part, mine in parts.items()
                for user, placed in _placed(part, mine, counted[ranking], parts).items()
            }
            for ranking, parts in moves.items()
            if ranking in counted
        }
        for moves in moved
    ]


def _moves(
    changed: Mapping[Ranking, Sequence[str]], answers: Mapping[Ranking, Applied | Miss]
) -> dict[Ranking, Moves]:
    """Return the moves of each ranking that took all of a batch."""
    found: dict[Ranking, Moves] = {}
    for ranking, users in changed.items():
        split = ranking.split(users)
        applied = {part: answer for part in split if isinstance(answer := answers[part], Applied)}
        if len(applied) == len(split):
            found[ranking] = {
                part: dict(zip(split[part], answer.placed, strict=True)) for part, answer in applied.items()
            }
    return found


def _placed(own: Ranking, mine: Mapping[str, Placed], counted: Counted, moves: Moves) -> dict[str, Placed]:
    """Return what was done to the users of one part, by rank in the whole."""
    undone = {part: _Undone(part, placed.values()) for part, placed in moves.items() if part != own}
    found: dict[str, Placed] = {}
    for user, (previous_rank, rank, ties, score, previous_score) in mine.items():
        if previous_rank is not None and previous_score is not None:
            key = own.sort_key(previous_score)
            for part, (better, _) in counted.beside(own, key).items():
                previous_rank += better + (undone[part].better(key) if part in undone else 0)
        if rank is not None and ties is not None and score is not None:
            beside = counted.beside(own, own.sort_key(score)).values()
            rank += sum(better for better, _ in beside)
            ties += sum(on for _, on in beside)
        found[user] = Placed(previous_rank, rank, ties, score, previous_score)
    return found


class _Undone:
    """What was different in a part before some users were changed in it."""

    def __init__(self, part: Ranking, placed: Iterable[Placed]) -> None:
        moved = list(placed)
        self._now = sorted(part.sort_key(each.score) for each in moved if each.score is not None)
        self._before = sorted(
            part.sort_key(each.previous_score) for each in moved if each.previous_score is not None
        )

    def better(self, sort_key: int) -> int:
        """Return how many more (or fewer, below 0) were better than a key."""
        return bisect_left(self._before, sort_key) - bisect_left(self._now, sort_key)
