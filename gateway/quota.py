"""Rate limits that several gateways share through Redis: one bucket per caller, wherever it calls.

A request that the buckets of this process let pass asks the shared ones before it goes on; all that
wait together share a round trip. While Redis cannot be asked, the buckets of each process decide
alone: with n gateways a caller then gets up to n times the rate, and nobody is turned away for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import Counter

from gateway.limits import Buckets, Verdict
from gateway.request import Request
from shared.cluster import open_line
from shared.errors import LeaderboardError, StoreUnavailable
from shared.wire import SHA, Command

if TYPE_CHECKING:
    from gateway.door import Door

log = logging.getLogger(__name__)

UNSHARED = Counter(
    "leaderboard_gateway_unshared_limits_total",
    "Requests judged by this process alone: Redis did not answer.",
)

MAX_BATCH = 500
"""Requests judged in one round trip."""

MAX_WAITING = 10_000
"""Requests that may wait for a verdict; past it this process decides alone."""

Take = tuple[Buckets, str]
"""A bucket, and whose."""


class Ask:
    """A request waiting for its shared verdict; to its door it is an exchange like any other.

    Without a door it is only counted: it was refused for another reason.
    """

    __slots__ = ("_door", "_quota", "is_waiting", "request")

    def __init__(self, quota: Quota, door: Door | None, request: Request) -> None:
        self._quota = quota
        self._door = door
        self.request = request
        self.is_waiting = True

    def start(self) -> None:
        """Ask."""
        self._quota.ask(self)

    def decided(self, verdicts: Sequence[Verdict]) -> None:
        """Go on, or answer 429; without a verdict this process's own, given before, holds."""
        if self._door is None or not self.is_waiting:
            return
        self.is_waiting = False
        for verdict in verdicts:
            self.request.limit_lines = verdict.lines
            if not verdict.allowed:
                self._door.refuse(self.request, verdict.refusal())
                return
        self._door.carry(self.request)

    def pause(self) -> None:
        """Nothing: nothing flows yet."""

    def resume(self) -> None:
        """Nothing, as above."""

    def expire(self) -> None:
        """Answer 504: the deadline has passed."""
        assert self._door is not None
        self.is_waiting = False
        late = LeaderboardError("deadline_exceeded", "the answer did not come in time")
        self._door.refuse(self.request, late)

    def cancel(self) -> None:
        """Give up: the client went away. What it took stays taken."""
        self.is_waiting = False


class Quota:
    """The shared buckets.

    Args:
        url: the Redis that holds them.
        timeout: seconds a round trip may take; past it this process decides alone.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._line = open_line(url, timeout=timeout)
        self._waiting: deque[Ask] = deque()
        self._wanted = asyncio.Event()

    def asking(self, door: Door, request: Request) -> Ask:
        """Return what asks about a request on behalf of its door."""
        return Ask(self, door, request)

    def ask(self, ask: Ask) -> None:
        """Queue a request for the next round trip."""
        if len(self._waiting) >= MAX_WAITING:
            UNSHARED.inc()
            ask.decided(())
            return
        self._waiting.append(ask)
        self._wanted.set()

    def count(self, request: Request) -> None:
        """Count what a refused request took, as the shared buckets should know."""
        if request.takes:
            self.ask(Ask(self, None, request))

    async def serve(self) -> None:
        """Carry questions to Redis until cancelled."""
        while True:
            await self._wanted.wait()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            replies = iter(await self._take([take for ask in batch for take in ask.request.takes]))
            for ask in batch:
                found = [_verdict(buckets, next(replies, None)) for buckets, _ in ask.request.takes]
                if None in found:
                    UNSHARED.inc()
                ask.decided([verdict for verdict in found if verdict is not None])
            if not self._waiting:
                self._wanted.clear()

    async def _take(self, takes: list[Take]) -> list[Any]:
        try:
            return await self._line.send([_command(take) for take in takes])
        except StoreUnavailable as error:
            log.debug("limits are not shared", extra={"reason": str(error)})
            return []

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()


def _command(take: Take) -> Command:
    buckets, caller = take
    key = f"leaderboard:limit:{buckets.name}:{caller}"
    return ("EVALSHA", SHA["limit"], 1, key, f"{1e6 / buckets.rate:.3f}", buckets.burst)


def _verdict(buckets: Buckets, reply: Any) -> Verdict | None:
    # An error in place of a reply (a user without the right, a full memory) is no verdict.
    if not isinstance(reply, list):
        return None
    allowed, remaining, microseconds = reply
    return Verdict(bool(allowed), buckets.burst, remaining, microseconds // 1_000_000 + 1)
