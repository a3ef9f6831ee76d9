"""The fold is a set function: arrival order and batching cannot matter, and SQL obeys the same law."""

from __future__ import annotations

import asyncio
import random
from itertools import product
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from score_service import rules
from score_service.rules import Contribution
from shared.messages import Operator
from shared.names import microseconds, uuid7
from shared.postgres import Pool
from shared.ranking import Ranking
from tests.score import Score, score_service

OPERATORS: tuple[Operator, ...] = ("sum", "best", "latest", "count")
BOARDS = {
    f"{operator}-{order}-{ties}": {"operator": operator, "order": order, "ties": ties, "min_score": -100}
    for operator, order, ties in product(OPERATORS, ("desc", "asc"), ("competition", "dense", "first"))
}
TABLE = """
    SELECT leaderboard, user_id, score, sort_key, tiebreak, reached_at, e.session_id
      FROM entries AS e JOIN leaderboards USING (leaderboard_id)
"""

Result = tuple[int, int, UUID]  # score, played_at in microseconds, session


def truth(operator: str, order: str, ties: str, results: list[Result]) -> tuple[int, int]:
    """Return (score, tiebreak) straight from the words of the design."""
    if operator == "sum":
        score = sum(result[0] for result in results)
        changing = [at for value, at, _ in results if value]
        at = max(changing) if changing else min(at for _, at, _ in results)
    elif operator == "count":
        score, at = len(results), max(at for _, at, _ in results)
    elif operator == "best":
        score = (max if order == "desc" else min)(result[0] for result in results)
        at = min(at for value, at, _ in results if value == score)
    else:
        score, at, _ = max(results, key=lambda result: (result[1], result[2]))
    return score, at if ties == "first" else 0


result_lists = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(1, 6), st.integers(1, 4).map(lambda n: UUID(int=n))),
    min_size=1,
    max_size=8,
    unique_by=lambda result: result[1:],
)


@given(st.sampled_from(OPERATORS), st.sampled_from(["desc", "asc"]), result_lists, st.randoms())
def test_any_order_and_any_split_fold_to_the_same(
    operator: Operator, order: Any, results: list[Result], random: random.Random
) -> None:
    ranking = Ranking(1, 1, 0, "first", order)
    parts = [rules.contribution(operator, ranking, *result) for result in results]
    random.shuffle(parts)
    while len(parts) > 1:  # merge random neighbours: every tree of merges is possible
        i = random.randrange(len(parts) - 1)
        parts[i : i + 2] = [rules.merge(operator, parts[i], parts[i + 1])]
    whole: Contribution = parts[0]
    found = (ranking.score(whole.sort_key), abs(whole.reached_at))
    assert found == truth(operator, order, "first", results)


async def test_batches_in_sql_and_a_fold_from_history_agree_with_the_definition(
    database_url: str, redis_url: str, pool: Pool, rng: random.Random
) -> None:
    history: dict[str, list[Result]] = {}
    # Small batches: most entries are merged in SQL, into rows that other batches have made.
    async with score_service(
        database_url, redis_url, score_lanes=2, score_crowd=1, score_batch_results=9
    ) as score:
        await score.define(**BOARDS, **{"global": {"min_score": -100}})
        await asyncio.gather(*(play(score, rng, history) for _ in range(120)))
        assert await pool.fetchval("SELECT count(DISTINCT xmin::text) FROM game_sessions") >= 30
        live = await table(pool)
        await score.define(**{f"again-{name}": body for name, body in BOARDS.items()})
        refolded = await table(pool)
    for (board, user), row in live.items():
        if board != "global":
            operator, order, ties = board.split("-")
            assert (row["score"], row["tiebreak"]) == truth(operator, order, ties, history[user]), board
            assert row["sort_key"] == (-row["score"] if order == "desc" else row["score"])
            assert list(row.values())[2:] == list(refolded[f"again-{board}", user].values())[2:], board
    assert len(live) == (len(BOARDS) + 1) * len(history)


async def play(score: Score, rng: random.Random, history: dict[str, list[Result]]) -> None:
    second = rng.randrange(10)
    session_id = uuid7()
    results = [(f"u{n}", rng.randrange(-3, 4)) for n in rng.sample(range(12), 3)]
    answer, _ = await score.post(
        *results, session_id=str(session_id), played_at=f"2026-11-01T00:00:0{second}Z"
    )
    for user, value in results:
        history.setdefault(user, []).append((value, microseconds(answer.played_at), session_id))


async def table(pool: Pool) -> dict[tuple[str, str], Any]:
    return {(row["leaderboard"], row["user_id"]): row for row in await pool.fetch(TABLE)}
