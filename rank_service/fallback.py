"""Answers from Postgres when the index has none: exact, a bounded number at once, 503 past it.

Questions that wait together share a query, so a lost index costs one pass over a ranking for
hundreds of users. A question never joins a query that has already started: it might have missed
a write this caller has been told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter

from rank_service.envelopes import moment
from rank_service.questions import (
    Answer,
    Around,
    Counted,
    Page,
    Places,
    Question,
    Seen,
    Spread,
    Stood,
    Supposed,
    WhatIf,
)
from rank_service.store import Reads
from shared.coalesce import Coalescer
from shared.index import Stamp
from shared.profiles import Kept
from shared.ranking import Ranking

BATCH = 200
"""Questions that may share the queries of one flush."""

QUERIES = Counter("leaderboard_rank_fallback_queries_total", "Queries that stood in for the ranking index.")


class Fallback:
    """Asks Postgres what the index could not answer.

    Args:
        store: a pool with at least `lanes` connections to spare.
        lanes: queries at once.
        queue: questions that may wait; past it `overloaded`.
    """

    def __init__(self, store: Reads, *, lanes: int, queue: int) -> None:
        self._store = store
        self._coalescer: Coalescer[Question, Answer] = Coalescer(
            self._flush, name="ask the database", batch=BATCH, queue=queue, lanes=lanes
        )
        self.ask = self._coalescer.get
        """Ask one question; the future gives its answer, or StoreUnavailable."""

    async def close(self) -> None:
        """Wait for the queries under way."""
        await self._coalescer.close()

    async def _flush(self, questions: Sequence[Question]) -> Sequence[Answer | BaseException]:
        # One query per ranking for all who ask for places, one per distinct window. A failure is
        # the answer of those it concerns only.
        groups: dict[Any, list[int]] = {}
        for i, question in enumerate(questions):
            kind = (question.ranking,) if isinstance(question, Places) else (type(question), question)
            groups.setdefault(kind, []).append(i)
        answers: dict[int, Answer | BaseException] = {}
        for members in groups.values():
            asked = [questions[i] for i in members]
            try:
                found: Sequence[Answer | BaseException] = await self._query(asked)
            except Exception as error:  # noqa: BLE001  everyone who asked learns of it
                found = [error] * len(members)
            answers.update(zip(members, found, strict=True))
        return [answers[i] for i in range(len(questions))]

    async def _query(self, asked: Sequence[Question]) -> Sequence[Answer]:
        QUERIES.inc()
        as_of = moment()
        first = asked[0]
        if isinstance(first, Places):
            asking = [question for question in asked if isinstance(question, Places)]
            return await self._places(first.ranking, asking, as_of)
        return [await self._single(first, as_of)] * len(asked)

    async def _single(self, question: Page | Around | WhatIf | Spread, as_of: bytes) -> Answer:
        ranking = question.ranking
        match question:
            case WhatIf(_, _, score):
                total, rank, ties = await self._store.rank_of_score(ranking, score)
                return Supposed(total, as_of, rank, ties)
            case Spread(_, _, wanted):
                buckets = await self._store.distribution(ranking, wanted)
                return Counted(sum(bucket.players for bucket in buckets), as_of, buckets)
            case Page(_, _, offset, limit):
                snapshot = await self._store.page(ranking, offset, limit)
            case Around(_, _, user_id, radius):
                snapshot = await self._store.around(ranking, user_id, radius)
        return Seen(Stamp("", 0, snapshot.total), as_of, snapshot.rows, None)

    async def _places(self, ranking: Ranking, asked: Sequence[Places], as_of: bytes) -> list[Stood]:
        users = list(dict.fromkeys(user_id for question in asked for user_id in question.user_ids))
        total, found = await self._store.places(ranking, users)
        return [
            Stood(
                total,
                as_of,
                [found.get(user_id) for user_id in question.user_ids],
                Kept(None, [None] * len(question.user_ids)),
            )
            for question in asked
        ]
