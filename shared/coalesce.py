"""Concurrent requests join one round trip: the trick behind group commit and coalesced reads.

While a flush is in flight, what arrives is collected and becomes the next one; when nothing is
in flight a request is flushed at once, so waiting is never added.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from shared import tracing
from shared.errors import LeaderboardError

if TYPE_CHECKING:
    from shared.spans import Span

log = logging.getLogger(__name__)

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


class Waiter(Protocol):
    """Who is told what became of an item, in the turn in which it is known; a future is one."""

    def done(self) -> bool:
        """Say whether nobody waits any more."""

    def set_result(self, result: Any, /) -> None:
        """Take the result; raises nothing."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Learn that there is none; raises nothing."""


LATER: Any = object()
"""What a flush returns for an item whose future it settles itself, later."""


class Coalescer(Generic[I, R]):
    """Collects items and flushes them together.

    Args:
        flush: takes 1..`batch` items, returns one result (or exception, or LATER) for each, in order.
        name: what a flush is called in traces.
        batch: the most weight of one flush (a heavier item goes alone).
        weigh: the weight of an item; by default each weighs 1.
        queue: the most items waiting; past it `get` raises `overloaded` at once.
        lanes: flushes in flight at once.
        crowd: how many wait when a flush starts beside one in flight; with less than half of that the one
            that ends is not followed by another.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[I]], Awaitable[Sequence[R | BaseException]]],
        *,
        name: str = "batch",
        batch: int,
        queue: int,
        lanes: int = 1,
        crowd: int = 1,
        weigh: Callable[[I], int] | None = None,
    ) -> None:
        self._flush = flush
        self._name = name
        self._spans: dict[Waiter, Span] = {}
        """Those of the requests waiting that are traced."""
        self._weigh = weigh
        self._batch = batch
        self._queue = queue
        self._lanes = lanes
        self._busy = 0
        """Lanes in which something is in flight."""
        self._crowd = crowd
        self._waiting: deque[tuple[I, Waiter]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # Noted by the first `get`: asking for it costs a system call (getpid) each time.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def waiting(self) -> int:
        """How many items wait for a flush."""
        return len(self._waiting)

    def get(self, item: I) -> asyncio.Future[R]:
        """Queue `item`; the future gives its result.

        Raises:
            LeaderboardError: `overloaded`, when the queue is full.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self.put(item, future)
        return future

    def put(self, item: I, waiter: Waiter) -> None:
        """Queue `item`; `waiter` is told its result.

        Raises:
            LeaderboardError: `overloaded`, when the queue is full.
        """
        if len(self._waiting) >= self._queue:
            raise LeaderboardError("overloaded", "too many requests are waiting; try again shortly")
        if (span := tracing.CURRENT.get()) is not None:
            self._spans[waiter] = span
        self._waiting.append((item, waiter))
        if not self._busy or (self._busy < self._lanes and len(self._waiting) >= self._crowd):
            self._busy += 1
            loop = self._loop = self._loop or asyncio.get_running_loop()
            # In a context of its own: what it does is done for all, not for who came first.
            task = loop.create_task(self._drain(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait until everything queued has been flushed."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting and (self._busy == 1 or len(self._waiting) >= self._crowd // 2):
                taken = self._take()
                # Who went away (a client that hung up, a deadline) needs no answer.
                wanted = [pair for pair in taken if not pair[1].done()]
                spans = self._spans_of(taken) if self._spans else []
                if not wanted:
                    continue
                if not spans:
                    await self._run(wanted)
                    continue
                with tracing.batch(self._name, spans, len(wanted)):
                    await self._run(wanted)
        finally:
            self._busy -= 1

    def _take(self) -> list[tuple[I, Waiter]]:
        if self._weigh is None:
            size = min(self._batch, len(self._waiting))
            return [self._waiting.popleft() for _ in range(size)]
        taken = [self._waiting.popleft()]
        weight = self._weigh(taken[0][0])
        while self._waiting and (weight := weight + self._weigh(self._waiting[0][0])) <= self._batch:
            taken.append(self._waiting.popleft())
        return taken

    def _spans_of(self, taken: list[tuple[I, Waiter]]) -> list[Span]:
        found = [(waiter, self._spans.pop(waiter, None)) for _, waiter in taken]
        return [span for waiter, span in found if span is not None and not waiter.done()]

    async def _run(self, pairs: list[tuple[I, Waiter]]) -> None:
        results: Sequence[R | BaseException]
        try:
            results = await self._flush([item for item, _ in pairs])
        except Exception as error:  # noqa: BLE001  every waiter learns of it
            results = [error] * len(pairs)
        for (_, waiter), result in zip(pairs, results, strict=True):
            if result is not LATER:
                tell(waiter, result)


def tell(waiter: Waiter, result: Any) -> None:
    """Tell a waiter, if it still waits, its result: an exception is raised where it waits."""
    if waiter.done():
        return
    if isinstance(result, BaseException):
        waiter.set_exception(result)
    else:
        waiter.set_result(result)
