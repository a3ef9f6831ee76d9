"""What runs unasked: events heard, writes the index lacks noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container
from datetime import timedelta

import msgspec
import orjson
from prometheus_client import Counter, Gauge
from redis.exceptions import RedisError

from rank_service.answers import Answers
from rank_service.live import Live
from rank_service.store import SQL
from rank_service.yesterday import Yesterday
from shared.boards import Games
from shared.errors import StoreUnavailable
from shared.events import CHANNEL, EntriesChanged, ProfileChanged, RulesChanged, decode
from shared.names import leaderboard_key
from shared.postgres import Pool, translated
from shared.sentinel import client
from shared.wire import Line

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""Connecting to hear events may take this long."""

LATE = timedelta(seconds=1)
"""A committed batch that is not applied by then is missing from the index."""

LATE_BATCHES = 1_000
"""Late batches looked at; when there are more, no index is trusted."""

EVENTS = Counter("leaderboard_rank_events_total", "Events heard.", ["kind"])
BEHIND = Gauge("leaderboard_rank_rankings_behind", "Rankings answered from Postgres for writes not applied.")


class Everything:
    """Contains whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


class Listening:
    """Hears what score_service publishes."""

    def __init__(self, line: Line, games: Games, live: Live, yesterday: Yesterday) -> None:
        self._yesterday = yesterday
        self._line = line
        self._games = games
        self._live = live

    async def listen(self) -> None:
        """Act on events until the connection breaks.

        Raises:
            StoreUnavailable: it did; events were or will be missed.
        """
        try:
            url, *_ = await self._line.urls()
            async with client(url, timeout=CONNECT_SECONDS) as redis, redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # redis-py swallows it while connecting
                    raise asyncio.CancelledError
                # Whatever was missed while nobody listened is looked at now.
                self._live.notice_all()
                async for message in channel.listen():
                    if message["type"] == "message":
                        self.hear(message["data"])
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"events are not heard: {error}") from error

    def hear(self, data: bytes) -> None:
        """Act on one event; one that cannot be read is counted and left."""
        try:
            event = decode(data)
        except msgspec.DecodeError:
            EVENTS.labels("unreadable").inc()
            return
        EVENTS.labels(type(event).__name__).inc()
        if isinstance(event, EntriesChanged):
            self._live.notice(event.leaderboard_id, event.users)
            return
        if isinstance(event, RulesChanged):
            self._games.forget(event.game)
        if isinstance(event, ProfileChanged):  # or erased
            self._yesterday.forget(event.user_id)
        self._live.notice_all()


class Lateness:
    """Notices committed writes the index lacks: their rankings are then answered from Postgres."""

    def __init__(self, pool: Pool, answers: Answers) -> None:
        self._pool = pool
        self._answers = answers

    async def look(self) -> None:
        """Look at the outbox; what was known stays as it is when Postgres cannot be asked."""
        with translated():
            rows = await self._pool.fetch(SQL["oldest_changes"], LATE, LATE_BATCHES)
        behind: Container[str] = Everything()
        if len(rows) < LATE_BATCHES:
            changes = [change for row in rows for change in orjson.loads(row[0])]
            names = {f"lb:{leaderboard_key(*change[:3])}" for change in changes}
            BEHIND.set(len(names))
            behind = names
        self._answers.behind = behind
