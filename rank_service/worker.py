"""What runs unasked: events heard, writes the index lacks noticed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container
from datetime import timedelta

import msgspec
import orjson
from prometheus_client import Counter, Gauge
from redis.asyncio.client import PubSub
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
from shared.primaries import Primaries
from shared.sentinel import client
from shared.wire import Line

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""Connecting to hear events may take this long."""

PULSE = 1.0
"""Seconds without an event after which the server is asked whether it is there."""

SILENCE = 3.0
"""Seconds without a word after which the connection is given up: a half-open one would be silent for good."""

LATE = timedelta(seconds=1)
"""A committed batch that is not applied by then is missing from the index."""

LATE_BATCHES = 1_000
"""Late batches looked at; when there are more, no index is trusted."""

EVENTS = Counter("leaderboard_rank_events_total", "Events heard.", ["kind"])
LOST = Counter(
    "leaderboard_rank_subscriptions_lost_total",
    "Subscriptions to events that ended: broken off, or silent for too long.",
    ["reason"],
)
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
        """Act on events until the connection breaks, or is silent for too long.

        Raises:
            StoreUnavailable: it did; events were or will be missed.
        """
        try:
            url, *_ = await self._line.urls()
            async with client(url, timeout=CONNECT_SECONDS) as redis, redis.pubsub() as channel:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await channel.subscribe(CHANNEL)
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # redis-py swallows it while connecting
                    raise asyncio.CancelledError
                await self._follow(channel)
        except TimeoutError as error:
            LOST.labels("silent").inc()
            raise StoreUnavailable(f"events are not heard: {error!r}") from error
        # RuntimeError: uvloop's, for writing to a connection whose end has not reached redis-py yet.
        except (RedisError, OSError, RuntimeError) as error:
            LOST.labels("broken").inc()
            raise StoreUnavailable(f"events are not heard: {error}") from error

    async def _follow(self, channel: PubSub) -> None:
        now = asyncio.get_running_loop().time
        heard = now()
        while True:
            message = await channel.get_message(timeout=PULSE)
            if message is not None:
                heard = now()
                if message["type"] == "subscribe":
                    # Whatever was missed while nobody listened is looked at now.
                    self._yesterday.forget_all()
                    self._live.notice_all()
                elif message["type"] == "message":
                    self.hear(message["data"])
            elif now() - heard > SILENCE:
                raise TimeoutError(f"redis has been silent for {SILENCE:g} s")
            else:
                await channel.ping()

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


class Succession:
    """Hears which primary writers write to, and has nothing more to do with an older one.

    Args:
        read: identity of the primary that is read.
        follow: told the identity of its successor: copies made of that are right, and no others.
    """

    def __init__(
        self, line: Line, primaries: Primaries, read: Callable[[], str], follow: Callable[[str], None]
    ) -> None:
        self._line = line
        self._primaries = primaries
        self._read = read
        self._follow = follow

    async def look(self) -> None:
        """Hear what is announced."""
        await self._primaries.listen(self._line)
        if self._primaries.is_old(self._read()):
            log.error("an old primary was read: %s, now %s", self._read(), self._primaries.newest)
            self._follow(self._primaries.newest)


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
