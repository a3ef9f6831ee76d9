"""The comparison after a move: what is the same, what differs by rule, what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.proof import Comparison, Proof, ranked, rule_of
from deploy.sources import Record, Source


def positions(**scores: int) -> Source:
    """A source that tells equal scores apart by name, as a sorted set does."""
    return Source("x", [Record(u, s, u.encode()) for u, s in scores.items()], "by name")


def written(ranks: dict[str, tuple[int, int]]) -> Source:
    """A source in which ranks are written down."""
    return Source("x", [Record(u, score, rank=rank) for u, (score, rank) in ranks.items()], "as written")


def compared(source: Source, ties: str, *entries: tuple[str, int, int]) -> Proof:
    """Compare with entries (user, score, rank) here, best first."""
    comparison = Comparison(source, {"order": "desc", "ties": ties})
    shared = [score for _, score, _ in entries]
    for user, score, rank in entries:
        entry: dict[str, Any] = {"user_id": user, "score": score, "rank": rank, "ties": shared.count(score)}
        comparison.take(entry)
    return comparison.result()


def test_without_ties_every_rank_is_the_same() -> None:
    proof = compared(positions(ada=3, bob=2), "competition", ("ada", 3, 1), ("bob", 2, 2))
    assert (proof.holds, proof.same, proof.differences) == (True, 2, [])


@pytest.mark.parametrize(
    ("ties", "here", "kinds"),
    [
        ("competition", [1, 1, 3], {"ties": 1}),
        ("dense", [1, 1, 2], {"ties": 1, "dense ranks": 1}),
        ("first", [1, 2, 3], {"ties": 2}),
    ],
)
def test_a_rank_that_differs_by_rule_is_explained(ties: str, here: list[int], kinds: dict[str, int]) -> None:
    entries = zip(("ada", "bob", "cyd"), (5, 5, 1), here, strict=True)
    proof = compared(positions(ada=5, bob=5, cyd=1), ties, *entries)
    # There, bob is first and ada second: names count from the end where the highest is best.
    assert (proof.holds, dict(proof.kinds)) == (True, kinds)
    first = next(each for each in proof.differences if each.user == "ada" or ties == "first")
    assert "2 share 5: told apart there by name" in first.why


def test_users_of_other_origin_push_others_down() -> None:
    proof = compared(positions(ada=3), "competition", ("eve", 9, 1), ("ada", 3, 2))
    assert (proof.holds, proof.strangers, dict(proof.kinds)) == (True, 1, {"users of other origin": 1})


def test_under_dense_they_push_by_scores_not_by_heads() -> None:
    entries = (("eve", 9, 1), ("fay", 9, 1), ("gus", 3, 2), ("ada", 3, 2), ("bob", 1, 3))
    assert compared(positions(ada=3, bob=1), "dense", *entries).holds


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ([("ada", 3, 1)], "missing here"),
        ([("ada", 3, 1), ("bob", 1, 2)], "another score"),
        ([("ada", 3, 1), ("bob", 2, 3)], "another rank"),
    ],
)
def test_what_should_not_be_is_a_fault(entries: list[tuple[str, int, int]], kind: str) -> None:
    proof = compared(positions(ada=3, bob=2), "competition", *entries)
    assert (proof.holds, [each.kind for each in proof.differences]) == (False, [kind])


def test_a_wrong_rank_is_a_fault_also_where_the_source_has_none() -> None:
    source = Source("x", [Record("ada", 3), Record("bob", 2)], "as the file has them")
    proof = compared(source, "competition", ("ada", 3, 1), ("bob", 2, 3))
    assert [(each.kind, each.why) for each in proof.differences] == [
        ("another rank", "by the scores there it is 2")
    ]


def test_ranks_that_are_written_down_are_compared_too() -> None:
    dense = written({"ada": (5, 1), "bob": (5, 1), "cyd": (1, 2)})
    entries = (("ada", 5, 1), ("bob", 5, 1), ("cyd", 1, 3))
    (difference,) = compared(dense, "competition", *entries).differences
    assert (difference.user, difference.kind) == ("cyd", "dense ranks")


def test_a_written_rank_that_its_score_does_not_give_is_a_fault() -> None:
    proof = compared(written({"ada": (5, 2), "bob": (3, 1)}), "competition", ("ada", 5, 1), ("bob", 3, 2))
    assert not proof.holds
    assert "does not follow from the scores" in proof.differences[0].why


def test_ties_do_not_excuse_ranks_that_follow_no_rule() -> None:
    source = written({"ada": (5, 2), "bob": (5, 3), "cyd": (1, 1)})
    assert not compared(source, "competition", ("ada", 5, 1), ("bob", 5, 1), ("cyd", 1, 3)).holds


@pytest.mark.parametrize(
    ("ties", "ranks"),
    [("competition", [1, 1, 3]), ("dense", [1, 1, 2]), ("first", [None, None, 3])],
)
def test_expected_ranks_follow_the_tie_rule(ties: str, ranks: list[int | None]) -> None:
    found = ranked([("a", 5), ("b", 5), ("c", 1)], {"order": "desc", "ties": ties})
    assert [rank for _, rank in found.values()] == ranks


@pytest.mark.parametrize(
    ("ranks", "rule"),
    [
        ([1, 2, 3], "positions"),
        ([2, 1, 3], "positions"),
        ([1, 1, 3], "competition"),
        ([1, 1, 2], "dense"),
        ([1, 3, 2], ""),
        ([1, 1, 1], ""),
    ],
)
def test_the_rule_behind_ranks_is_found(ranks: list[int], rule: str) -> None:
    assert rule_of(dict(zip("abc", ranks, strict=True)), [("a", 5), ("b", 5), ("c", 1)], "desc") == rule
