"""What is put together from shards is what there would be without them."""

from __future__ import annotations

import random
from itertools import pairwise
from zlib import crc32

import pytest

from shared.index import Stamp, Tally
from shared.messages import Order
from shared.ranking import Place, Ranking, Row
from shared.sharding import across, buckets_of, edges, ends, merge_rows

SHARDS = 5


def ranked(ranking: Ranking, scores: dict[str, int]) -> list[Row]:
    """Every row, by the definition of competition ranks."""
    keys = sorted((ranking.sort_key(score), user) for user, score in scores.items())
    better = {key: sum(other < key for other, _ in keys) for key, _ in keys}
    ties = {key: sum(other == key for other, _ in keys) for key, _ in keys}
    return [
        Row(user, Place(better[key] + 1, ties[key], ranking.score(key), better[key])) for key, user in keys
    ]


@pytest.fixture(params=["desc", "asc"])
def ranking(request: pytest.FixtureRequest) -> Ranking:
    order: Order = request.param
    return Ranking(1, 1, 0, "competition", order, shards=SHARDS)


@pytest.fixture
def scores(rng: random.Random) -> dict[str, int]:
    return {f"u{i}": rng.randint(-3, 3) for i in range(rng.choice([0, 1, 3, 60]))}


def parts_of(ranking: Ranking, scores: dict[str, int]) -> list[list[Row]]:
    split = ranking.split(scores)
    return [ranked(ranking, {user: scores[user] for user in split.get(part, [])}) for part in ranking.parts]


@pytest.mark.parametrize("_", range(30))
def test_pages_are_merged(ranking: Ranking, scores: dict[str, int], rng: random.Random, _: int) -> None:
    rows, depth = ranked(ranking, scores), rng.randint(1, 40)
    windows = [part[:depth] for part in parts_of(ranking, scores)]
    assert merge_rows(ranking, windows)[:depth] == rows[:depth]


@pytest.mark.parametrize("_", range(30))
def test_neighbourhoods_are_merged(
    ranking: Ranking, scores: dict[str, int], rng: random.Random, _: int
) -> None:
    rows, radius = ranked(ranking, scores), rng.randint(1, 9)
    for at, row in enumerate(rows):
        place = ranking.sort_key(row.place.score), row.user_id
        windows = []
        for part in parts_of(ranking, scores):
            order = [(ranking.sort_key(each.place.score), each.user_id) for each in part]
            before = sum(each < place for each in order)
            own = int(place in order)
            windows.append(part[max(0, before - radius) : before + radius + own])
        merged = merge_rows(ranking, windows)
        found = merged.index(row)
        assert (
            merged[max(0, found - radius) : found + radius + 1] == rows[max(0, at - radius) : at + radius + 1]
        )


def tallies(ranking: Ranking, scores: dict[str, int], keys: list[int]) -> list[Tally]:
    found = []
    for part in parts_of(ranking, scores):
        mine = [ranking.sort_key(row.place.score) for row in part]
        counts = [(sum(each < key for each in mine), mine.count(key)) for key in keys]
        least, greatest = (mine[0], mine[-1]) if mine else (None, None)
        found.append(Tally(Stamp("t", 0, len(mine)), least, greatest, counts))
    return found


def test_places_are_counted_across(ranking: Ranking, scores: dict[str, int]) -> None:
    places = {row.user_id: row.place for row in ranked(ranking, scores)}
    for own, part in enumerate(parts_of(ranking, scores)):
        for user, place in part:
            counted = tallies(ranking, scores, [ranking.sort_key(place.score)])
            assert (
                across(place, [each.counts[0] for i, each in enumerate(counted) if i != own]) == places[user]
            )


@pytest.mark.parametrize("buckets", [1, 2, 5, 9])
def test_ranges_are_counted_across(ranking: Ranking, scores: dict[str, int], buckets: int) -> None:
    reach = ends(tallies(ranking, scores, []))
    assert (reach is None) == (not scores)
    starts = edges(*reach, buckets) if reach else []
    found = buckets_of(ranking, reach or (0, 0), starts, tallies(ranking, scores, starts))
    for bucket in found:
        inside = [score for score in scores.values() if bucket.lowest <= score <= bucket.highest]
        assert bucket.players == len(inside)
    assert sum(bucket.players for bucket in found) == len(scores)
    assert all(a.highest + 1 == b.lowest for a, b in pairwise(found))


def test_who_left_the_ranges_meanwhile_is_counted_at_their_ends(ranking: Ranking) -> None:
    starts = edges(0, 9, 2)
    found = buckets_of(ranking, (0, 9), starts, [Tally(Stamp("t", 0, 3), -4, 12, [(1, 0)])])
    assert sorted(bucket.players for bucket in found) == [1, 2]
    reach = [ranking.sort_key(edge) for bucket in found for edge in bucket[:2]]
    assert (min(reach), max(reach)) == (-4, 12)


def test_a_user_is_held_by_one_shard_for_ever(ranking: Ranking) -> None:
    # Ids hash by CRC-32: another hash would be another index under the same name.
    assert ranking.part_of("ada").shard == crc32(b"ada") % SHARDS == 2
    assert ranking.split(["ada"]) == {ranking.parts[2]: ["ada"]}
    assert ranking.parts[1].whole == ranking


def test_keys_tell_how_many_shards_there_are(ranking: Ranking) -> None:
    assert ranking.parts[1].keys[0] == "{lb:1.1.0:1/5}:s"
    assert Ranking(1, 1, 0, "competition", "desc").keys[0] == "{lb:1.1.0}:s"
    assert Ranking(1, 1, 0, "competition", "desc", layout=2).keys[0] == "{lb:1.1.0~2}:s"
    with pytest.raises(AssertionError):
        ranking.keys  # noqa: B018  the whole has none
