"""Committed batches on their way into the ranking index; then their sessions are answered, with their ranks.

Batches that are committed while one is applied are applied together after it, in one round trip. So with a
Redis that is further away than Postgres answers take longer, and it keeps up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Counter, Histogram

from score_service.batch import Batch, Changed, Outcome, Submission
from score_service.committer import Committer
from score_service.index import Applier, Places
from shared import tracing
from shared.coalesce import LATER, Coalescer
from shared.errors import LeaderboardError, StoreUnavailable
from shared.index import Placed

if TYPE_CHECKING:
    from shared.spans import Span

log = logging.getLogger(__name__)

APPLY_SECONDS = Histogram(
    "leaderboard_apply_seconds",
    "Time from a batch's commit to its ranks: what the ranking index lags behind.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
UNAPPLIED = Counter("leaderboard_batches_unapplied_total", "Batches left to the outbox worker.")

MAX_APPLIED = 2_000
"""Entries applied in one round trip, but for a batch that has more: 20 ms and more of the server's time."""

MAX_WAITING = 1_000
"""Batches that wait to be applied; past it they are left to the outbox worker."""

Committed = tuple[Submission, Outcome]


class Waiting(NamedTuple):
    """A committed batch: its sessions, when it was committed, in whose trace."""

    batch: Batch
    committed: list[Committed]
    since: float
    span: Span | None


class Applying:
    """Applies batches in the order of their commits."""

    def __init__(self, committer: Committer, applier: Applier) -> None:
        self._committer = committer
        self._applier = applier
        self._batches: Coalescer[Waiting, None] = Coalescer(
            self._settle, batch=MAX_APPLIED, queue=MAX_WAITING, weigh=_size
        )
        self._late_ones: set[asyncio.Task[None]] = set()

    def hand_over(self, committed: list[Committed]) -> None:
        """Have the batch of these sessions applied: at once, or with others behind those before it."""
        batch = committed[0][1].batch
        assert batch is not None
        waiting = Waiting(batch, committed, perf_counter(), tracing.CURRENT.get())
        try:
            # Outside of the commit's trace: applying has no span of its own, it sets whose it goes on with.
            Context().run(self._batches.get, waiting)
        except LeaderboardError:
            UNAPPLIED.inc()
            _answer(committed, {})

    async def close(self) -> None:
        """Apply what was handed over."""
        await self._batches.close()
        while self._late_ones:
            await asyncio.wait(self._late_ones)

    async def _settle(self, taken: Sequence[Waiting]) -> list[Any]:
        """Apply batches, then give their sessions their outcomes; without ranks where that failed."""
        tracing.CURRENT.set(taken[0].span)
        found: list[Places] | None = None
        try:
            found = await self._applier.apply([each.batch.entries for each in taken])
        except StoreUnavailable as error:
            UNAPPLIED.inc(len(taken))
            log.warning("%d batches are left to the outbox worker: %s", len(taken), error)
        except Exception:  # committed is committed: the answers go out
            UNAPPLIED.inc(len(taken))
            log.exception("%d batches could not be applied", len(taken))
        for each, placed in zip(taken, found or [{}] * len(taken), strict=True):
            APPLY_SECONDS.observe(perf_counter() - each.since)
            if found is not None:
                self._committer.applied.add(each.batch.outbox_id)
                if len(placed) < len(each.batch.entries):
                    task = asyncio.create_task(self._settle_late(each, placed), name="settle a late batch")
                    self._late_ones.add(task)
                    task.add_done_callback(self._late_ones.discard)
                    continue
            _answer(each.committed, placed)
        return [LATER] * len(taken)

    async def _settle_late(self, each: Waiting, placed: Places) -> None:
        """Answer the sessions of a batch some of whose rankings had no index; others do not wait for that."""
        try:
            entries = each.batch.entries
            placed |= await self._late({r: rows for r, rows in entries.items() if r not in placed})
        finally:
            _answer(each.committed, placed)

    async def _late(self, entries: Changed) -> Places:
        """Find ranks in rankings that had no index when the entries were applied."""
        keys = {(ranking, row.user_id): row.is_new for ranking, rows in entries.items() for row in rows}
        try:
            found = await self._applier.places(keys)
        except StoreUnavailable:
            return {}
        # Of an entry that was there before, the rank before cannot be known any more: both stay null.
        placed: Places = {}
        for (ranking, user_id), place in found.items():
            if keys[ranking, user_id]:
                placed.setdefault(ranking, {})[user_id] = Placed(None, place.rank, place.ties, place.score)
        return placed


def _size(waiting: Waiting) -> int:
    return waiting.batch.size


def _answer(committed: list[Committed], placed: Places) -> None:
    for submission, outcome in committed:
        submission.give((outcome, placed))
