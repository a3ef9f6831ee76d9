"""Signs of life: every process of every service says in Redis that it is there, and how it does.

They serve `/v1/status` and nothing else: no decision depends on them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.errors import StoreUnavailable
from shared.wire import Line

KEY = "leaderboard:alive"
EVERY = 2.0
"""Seconds between two signs of life."""

GONE_AFTER = timedelta(seconds=10)
"""Who has not been heard of for this long is gone."""


class Beat(msgspec.Struct, frozen=True):
    """What a process says of itself."""

    service: str
    instance: str
    started_at: datetime
    seen_at: datetime
    facts: dict[str, float]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Beat).decode


class Heart:
    """Beats for one process.

    Args:
        service: the service's name.
        line: any way to Redis.
        facts: figures worth seeing at a glance, read at each beat.
    """

    def __init__(self, service: str, line: Line, facts: Callable[[], dict[str, float]]) -> None:
        self._service = service
        self._line = line
        self._facts = facts
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._started_at = datetime.now(UTC)

    def now(self) -> Beat:
        """Return what this process would say now."""
        return Beat(self._service, self._instance, self._started_at, datetime.now(UTC), self._facts())

    async def beat(self) -> None:
        """Say that this process is here.

        Raises:
            StoreUnavailable: Redis cannot be reached.
        """
        await _run(self._line, ("HSET", KEY, f"{self._service}/{self._instance}", _encode(self.now())))


async def alive(line: Line) -> list[Beat]:
    """Return who has been heard of lately, by service and instance; the others are forgotten.

    Raises:
        StoreUnavailable: Redis cannot be reached.
    """
    found = await _run(line, ("HVALS", KEY))
    try:
        beats = [_decode(value) for value in found] if isinstance(found, list) else []
    except (msgspec.DecodeError, TypeError) as error:
        raise StoreUnavailable("what processes said of themselves cannot be read") from error
    fresh = datetime.now(UTC) - GONE_AFTER
    if gone := [f"{beat.service}/{beat.instance}" for beat in beats if beat.seen_at < fresh]:
        await _run(line, ("HDEL", KEY, *gone))
    return sorted((b for b in beats if b.seen_at >= fresh), key=lambda b: (b.service, b.instance))


async def _run(line: Line, command: tuple[Any, ...]) -> Any:
    (reply,) = await line.send([command])
    return reply
