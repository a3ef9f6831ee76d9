"""An exact answer from whichever store has one: the index, else Postgres while the index is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from contextlib import suppress
from typing import Any, cast

from prometheus_client import Counter

from rank_service.fallback import Fallback
from rank_service.questions import Answer, Question
from rank_service.sealed import Unsealed
from rank_service.sharded import Sharded
from rank_service.shelf import Shelf
from shared.errors import StoreUnavailable
from shared.index import Miss
from shared.loading import Loader
from shared.messages import Source

MISSES = Counter("leaderboard_rank_misses_total", "Questions the index could not answer.", ["status"])


class Answers:
    """Asks the index; where it cannot answer, starts its load and asks Postgres."""

    def __init__(
        self, lookups: Sharded, shelf: Shelf, fallback: Fallback, loader: Loader, sealed: Fallback
    ) -> None:
        self._lookups = lookups
        self._shelf = shelf
        self._fallback = fallback
        self._loader = loader
        self._sealed = sealed
        self.behind: Container[str] = ()
        """Rankings (by name) whose index lacks answered writes: it is not asked."""

    async def ask(self, question: Question, deadline: float) -> tuple[Source, Any]:
        """Return where the answer is from, and the answer: of the shape its question names.

        Raises:
            LeaderboardError: `overloaded`.
            StoreUnavailable: neither store can answer.
            TimeoutError: not by `deadline` (a moment of the loop's clock).
        """
        ranking = question.ranking
        if ranking.sealed:
            with suppress(Unsealed):  # a session was made void: until it is sealed anew, it is as any other
                async with asyncio.timeout_at(deadline):
                    return "sealed", await self._sealed.ask(question)
        version = ""
        if ranking.name not in self.behind:
            try:
                answer = await self._lookups.ask(question)
            except StoreUnavailable:
                MISSES.labels("unavailable").inc()
            else:
                if not isinstance(answer, Miss):
                    return "index", cast(Answer, answer)
                MISSES.labels(answer.status).inc()
                if answer.status == "miss":
                    self._loader.start(ranking)
                version = answer.version
        async with asyncio.timeout_at(deadline):
            return "database", await self._from_postgres(question, version)

    async def _from_postgres(self, question: Question, version: str) -> Answer:
        """Ask Postgres, unless it has answered this very question at this version of the loading copy."""
        if not version:
            return await self._fallback.ask(question)
        answer = await self._shelf.find(question, version)
        if answer is None:
            answer = await self._fallback.ask(question)
            self._shelf.keep(question, version, answer)
        return answer
