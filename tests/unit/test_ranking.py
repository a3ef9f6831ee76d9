from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import Ties
from shared.ranking import Place, Ranking, places


def defined(ties: Ties, scores: list[int]) -> list[Place]:
    """Reckon every place from the definitions; `scores` are sorted, best (lowest) first."""
    found = []
    for position, score in enumerate(scores):
        better = [other for other in scores if other < score]
        rank = {"competition": len(better), "dense": len(set(better)), "first": position}[ties] + 1
        found.append(Place(rank, scores.count(score), score, len(better)))
    return found


@given(
    ties=st.sampled_from(["competition", "dense", "first"]),
    scores=st.lists(st.integers(0, 6), min_size=1, max_size=40).map(sorted),
    data=st.data(),
)
def test_places_of_a_window_are_those_of_the_whole(
    ties: Ties, scores: list[int], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(scores) - 1))
    stop = data.draw(st.integers(start + 1, len(scores)))
    whole = defined(ties, scores)
    first, last = whole[start], whole[stop - 1]
    window = places(ties, start, first.better, first.rank, first.ties, last.ties, scores[start:stop])
    assert window == whole[start:stop]


def test_no_rows_have_no_places() -> None:
    assert places("competition", 0, 0, 1, 0, 0, []) == []


@pytest.mark.parametrize(("order", "key"), [("desc", -7), ("asc", 7)])
def test_smaller_sort_keys_are_better(order: str, key: int) -> None:
    ranking = Ranking(1, 1, 0, "competition", order)  # type: ignore[arg-type]
    assert ranking.sort_key(7) == key
    assert ranking.score(key) == 7


def test_keys_of_a_ranking_share_a_hash_tag() -> None:
    keys = Ranking(7, 2, 1_700_000_000, "dense", "asc").keys
    assert {key.partition("}")[0] for key in keys} == {"{lb:7.2.1700000000"}
    assert len(set(keys)) == 4
