"""Which primary is the present one: after a failover the old one may live on, and answer whoever reaches it.

Each promotion begins a timeline with a higher number, so of two primaries with the same system identifier
the one on the lower timeline is old. Writers say in Redis, every second, which one has just answered them;
whoever then gets an answer of an older one does not use it, and gives the connection up.

What is said is forgotten after seconds: a database that was put back on purpose locks nobody out for longer.
Of another system identifier nothing can be told; nor of anything while Redis is away.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from time import monotonic

from prometheus_client import Counter

from shared.wire import Line

log = logging.getLogger(__name__)

KEY = "leaderboard:primary"

EVERY = 1.0
"""Seconds between two announcements, and between two looks at what was announced."""

BELIEVED = 10.0
"""Seconds an announcement counts, in Redis and once more where it was heard."""

OLD = Counter(
    "leaderboard_old_primary_total", "Connections given up because their server has a successor.", ["pool"]
)

_IDENTITY = re.compile(r"([0-9]+):([0-9A-F]{8})")


class OldPrimary(ConnectionError):
    """A primary answered that has a successor: what it says is out of date."""


class Primaries:
    """Remembers for a while which primary is the newest.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._noted = 0.0
        self.newest = ""
        """System identifier and timeline of the newest primary heard of."""

    def note(self, identity: str) -> None:
        """Take note of a primary that has just answered, or was just announced."""
        if _IDENTITY.fullmatch(identity) and not self.is_old(identity):
            if identity != self.newest:
                log.info("the primary is %s", identity)
            self.newest, self._noted = identity, self._clock()

    def is_old(self, identity: str) -> bool:
        """Tell whether a primary has a successor."""
        if identity == self.newest or not self.newest:
            return False
        return self._clock() - self._noted < BELIEVED and outranks(self.newest, identity)

    async def listen(self, line: Line) -> None:
        """Take note of what writers have announced.

        Raises:
            StoreUnavailable: Redis cannot be reached.
        """
        (said,) = await line.send([("GET", KEY)])
        if isinstance(said, bytes):
            self.note(said.decode(errors="replace"))

    async def announce(self, line: Line, identity: str) -> None:
        """Announce the primary that has just answered, unless it is an old one.

        Raises:
            StoreUnavailable: Redis cannot be reached.
        """
        self.note(identity)
        if self.newest == identity:
            await line.send([("SET", KEY, identity, "PX", int(BELIEVED * 1000))])


def outranks(newer: str, identity: str) -> bool:
    """Tell whether one is a later timeline of the very same system as the other."""
    one, other = _IDENTITY.fullmatch(newer), _IDENTITY.fullmatch(identity)
    return one is not None and other is not None and one[1] == other[1] and one[2] > other[2]
