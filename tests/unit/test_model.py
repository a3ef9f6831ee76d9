"""The model is the measure of everything else, so its own claims are spelled out by hand."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.messages import Operator, Order, Ties
from shared.names import MAX_SCORE
from tests.model import Board, Game, Session, Standing


def session(number: int, played_at: int = 0, mode: str | None = None, **scores: int) -> Session:
    return Session(UUID(int=number), scores, played_at, mode)


def ranks(game: Game, name: str = "global") -> list[Standing]:
    return game.standings(name)


@pytest.mark.parametrize(
    ("ties", "expected"),
    [("competition", [1, 2, 2, 4]), ("dense", [1, 2, 2, 3]), ("first", [1, 2, 3, 4])],
)
def test_ties_are_ranked_by_policy(ties: Ties, expected: list[int]) -> None:
    game = Game({"global": Board(ties=ties)})
    game.record(session(1, ada=9, cyd=7, bob=7, dan=1))
    assert [line[0] for line in ranks(game)] == expected
    assert [line[3] for line in ranks(game)] == [1, 2, 2, 1]


@pytest.mark.parametrize(
    ("operator", "order", "score"),
    [
        ("sum", "desc", 12),
        ("best", "desc", 7),
        ("best", "asc", 2),
        ("latest", "desc", 2),
        ("count", "desc", 3),
    ],
)
def test_results_fold_by_operator(operator: Operator, order: Order, score: int) -> None:
    game = Game({"global": Board(operator, order)})
    for number, value in enumerate((7, 3, 2)):
        game.record(session(number, played_at=number, ada=value))
    assert ranks(game) == [(1, "ada", score, 1)]


@pytest.mark.parametrize(
    ("operator", "ahead"), [("sum", "bob"), ("best", "ada"), ("latest", "bob"), ("count", "bob")]
)
def test_who_reached_a_score_first_is_ahead(operator: Operator, ahead: str) -> None:
    game = Game({"global": Board(operator, ties="first")})
    game.record(session(1, played_at=1, ada=5))
    game.record(session(2, played_at=2, bob=5))
    game.record(session(3, played_at=3, bob=5))
    game.record(session(4, played_at=4, ada=5))
    assert ranks(game)[0][1] == ahead


def test_a_zero_does_not_change_a_sum_s_time() -> None:
    game = Game({"global": Board(ties="first")})
    game.record(session(1, played_at=1, bob=5))
    game.record(session(2, played_at=2, ada=5))
    game.record(session(3, played_at=3, bob=0))
    assert [line[1] for line in ranks(game)] == ["bob", "ada"]


def test_equal_scores_are_listed_by_the_bytes_of_the_user_id() -> None:
    game = Game()
    game.record(session(1, b=5, a=5, B=5, _1=5))
    assert [line[1] for line in ranks(game)] == ["B", "_1", "a", "b"]


def test_a_session_counts_once() -> None:
    game = Game()
    assert [game.record(session(1, ada=5)) for _ in range(2)] == ["recorded", "replayed"]
    assert game.record(session(1, ada=6)) == "session_conflict"
    assert ranks(game) == [(1, "ada", 5, 1)]


def test_a_session_that_breaks_a_bound_is_refused_whole() -> None:
    game = Game({"global": Board(), "duels": Board(modes=frozenset({"duel"}), max_score=9)})
    assert game.record(session(1, mode="duel", ada=1, bob=10)) == "score_out_of_bounds"
    assert game.record(session(2, mode="race", ada=1, bob=10)) == "recorded"
    assert ranks(game, "duels") == []


def test_a_total_does_not_leave_the_range_of_exact_integers() -> None:
    game = Game()
    assert game.record(session(1, ada=MAX_SCORE)) == "recorded"
    assert game.record(session(2, ada=1)) == "score_total_out_of_range"
    assert ranks(game) == [(1, "ada", MAX_SCORE, 1)]


def test_a_ban_hides_and_a_void_takes_back() -> None:
    game = Game()
    game.record(session(1, ada=5, bob=3))
    game.record(session(2, bob=4))
    game.banned.add("ada")
    game.voided.add(UUID(int=2))
    assert ranks(game) == [(1, "bob", 3, 1)]
