"""What score_service is made of, opened and closed in what order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import NamedTuple, TypedDict

from starlette.applications import Starlette
from starlette.routing import Router

from score_service.building import Builder
from score_service.committer import Committer
from score_service.definitions import Definitions
from score_service.erasure import Erasure
from score_service.history import History
from score_service.index import Applier
from score_service.moderation import Moderation
from score_service.preview import Previews
from score_service.records import Records
from score_service.routes import direct, routes
from score_service.sealing import Sealer
from score_service.service import Sessions
from score_service.settings import Settings
from score_service.snapshots import Snapshots
from score_service.status import Watcher
from score_service.upstream import Receivers
from score_service.users import Users
from score_service.webhooks import Webhooks
from score_service.worker import Announcer, Discarded, Housekeeping, Outbox
from shared.boards import Games
from shared.cluster import open_line
from shared.heartbeat import EVERY, Heart
from shared.index import RankingIndex
from shared.loading import Loader
from shared.postgres import Pool, open_pool, translated
from shared.primaries import EVERY as ANNOUNCED_EVERY
from shared.primaries import Primaries
from shared.supervise import repeated
from shared.tuning import settle_down

DAY = 86_400.0
Job = tuple[str, Callable[[], Awaitable[object]], float]
"""What runs unasked: its name, what it does, seconds between two runs."""


class State(TypedDict):
    """What the lifespan yields to requests."""

    games: Games
    sessions: Sessions
    history: History
    definitions: Definitions
    previews: Previews
    users: Users
    moderation: Moderation
    erasure: Erasure
    records: Records
    watcher: Watcher
    webhooks: Webhooks
    ready: Callable[[], Awaitable[None]]


class App(Router):
    """The routes, and the short way to the hot one; nothing is opened before its lifespan starts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.direct = {b"POST": direct}
        """Where hot requests go, below ASGI (see shared.direct)."""
        super().__init__(routes(), redirect_slashes=False, lifespan=self._lifespan_of)

    @asynccontextmanager
    async def _lifespan_of(self, _: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            state = await open_state(self._settings, stack)
            settle_down()
            yield state


async def open_state(settings: Settings, stack: AsyncExitStack) -> State:
    """Open everything in order; `stack` closes it in the opposite order."""
    timeout = settings.redis_timeout_ms / 1000
    lines = [open_line(settings.redis_url, timeout=seconds) for seconds in (timeout, 5.0, timeout)]
    applies, loads, hints = lines
    for line in lines:
        stack.push_async_callback(line.close)
    idle_ms = settings.index_idle_seconds * 1000
    indexes = [RankingIndex(line, idle_ms=idle_ms) for line in (applies, loads)]
    primaries = Primaries()
    pool = await stack.enter_async_context(_pool(settings, indexes, primaries))
    games = Games(pool)
    stack.push_async_callback(games.close)
    history = History(pool)
    grace = timedelta(seconds=settings.season_grace_seconds)
    committer = Committer(pool, retry_seconds=settings.score_retry_ms / 1000, grace=grace)
    loader = Loader(indexes[1], pool)
    stack.push_async_callback(loader.close)
    applier = Applier(indexes[0], loader, patience=settings.rank_patience_ms / 1000)
    outbox = Outbox(pool, committer, history, indexes[1])
    stack.push_async_callback(outbox.sweep)
    sessions = Sessions(
        games,
        committer,
        applier,
        history,
        batch=settings.score_batch_results,
        queue=settings.score_queue_sessions,
        lanes=settings.score_lanes,
        crowd=settings.score_crowd,
    )
    stack.push_async_callback(sessions.close)
    heart = Heart("score_service", hints, lambda: {"sessions_waiting": sessions.waiting})
    keeping = Housekeeping(pool, history_months=settings.history_months)
    erasure = Erasure(pool, committer, applier, indexes[1])
    webhooks = _webhooks(pool, settings)
    builder = Builder(pool, games, hints, grace=grace)
    others = Others(
        Discarded(pool, loads),
        Sealer(pool, indexes[1]),
        Snapshots(pool, days=settings.rank_history_days),
        webhooks,
        builder,
        Announcer(pool, hints, primaries),
    )
    await _start_jobs(stack, outbox, keeping, heart, erasure, others)

    async def ready() -> None:
        with translated():
            await pool.fetchval("SELECT 1")

    return State(
        games=games,
        sessions=sessions,
        history=history,
        definitions=Definitions(pool, games, hints, builder, patience=settings.build_patience_ms / 1000),
        previews=Previews(pool),
        users=Users(pool, committer, hints),
        records=Records(pool),
        watcher=Watcher(pool, hints, heart),
        moderation=Moderation(pool, committer, applier, history),
        erasure=erasure,
        webhooks=webhooks,
        ready=ready,
    )


def _pool(
    settings: Settings, indexes: list[RankingIndex], primaries: Primaries
) -> AbstractAsyncContextManager[Pool]:
    def seen(identity: str) -> None:
        for index in indexes:
            index.database_identity = identity

    return open_pool(
        settings.database_url,
        size=settings.score_pool_size,
        timeout=2.0,
        name="score_service",
        on_identity=seen,
        statement_timeout_ms=settings.score_statement_timeout_ms,
        traced=bool(settings.otel_exporter_otlp_endpoint),
        patience=settings.score_answer_ms / 1000,
        primaries=primaries,
    )


def _webhooks(pool: Pool, settings: Settings) -> Webhooks:
    private, patience = settings.webhook_private, timedelta(hours=settings.webhook_hours)
    return Webhooks(
        pool, Receivers(private=private), settings.webhook_secret, private=private, patience=patience
    )


class Others(NamedTuple):
    """Who works unasked, on a plan of their own."""

    discarded: Discarded
    sealer: Sealer
    snapshots: Snapshots
    webhooks: Webhooks
    builder: Builder
    announcer: Announcer


async def _start_jobs(
    stack: AsyncExitStack,
    outbox: Outbox,
    keeping: Housekeeping,
    heart: Heart,
    erasure: Erasure,
    others: Others,
) -> None:
    jobs: list[Job] = [
        ("drop applied outbox rows", outbox.sweep, 0.25),
        ("relay the outbox", outbox.relay, 0.5),
        ("measure the outbox", outbox.measure, 5.0),
        ("make partitions", keeping.make_periods, DAY / 4),
        ("announce the primary", others.announcer.announce, ANNOUNCED_EVERY),
        ("beat", heart.beat, EVERY),
        ("retain history", keeping.retain, DAY / 4),
        ("clear away erased users", erasure.clear_away, 10.0),
        ("close seasons", others.sealer.run, 1.0),
        ("purge entries", keeping.purge, 10.0),
        ("purge discarded entries", others.discarded.purge, 10.0),
        ("announce sealed seasons", others.webhooks.run, 1.0),
        ("forget old announcements", others.webhooks.purge, DAY / 4),
        ("take snapshots", others.snapshots.run, 60.0),
        ("build leaderboards", others.builder.run, 0.5),
    ]
    for name, job, every in jobs:
        await stack.enter_async_context(repeated(name, job, every=every))
