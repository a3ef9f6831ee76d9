"""What rank_service is made of, opened and closed in what order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict

from starlette.applications import Starlette
from starlette.routing import Router

from rank_service.answers import Answers
from rank_service.audit import Auditor
from rank_service.catalogue import Catalogue
from rank_service.fallback import Fallback
from rank_service.index import Asker, Lookups
from rank_service.live import Live
from rank_service.names import Profiles
from rank_service.nodes import Nodes
from rank_service.pages import Pages
from rank_service.routes import direct, routes
from rank_service.sealed import Sealed
from rank_service.seasons import Seasons
from rank_service.service import Rankings
from rank_service.settings import Settings
from rank_service.sharded import Sharded
from rank_service.shelf import Shelf
from rank_service.shortcuts import ShortCuts
from rank_service.standby import Standby
from rank_service.standings import Standings
from rank_service.store import Store
from rank_service.users import Users
from rank_service.watch import Watch
from rank_service.worker import Lateness, Listening, Succession
from rank_service.yesterday import Yesterday
from shared.boards import Games
from shared.cluster import Cluster, open_line
from shared.errors import StoreUnavailable
from shared.heartbeat import EVERY, Heart
from shared.index import RankingIndex
from shared.loading import Loader
from shared.postgres import Pool, open_pool, translated
from shared.primaries import EVERY as ANNOUNCED_EVERY
from shared.primaries import Primaries
from shared.supervise import repeated
from shared.tuning import settle_down
from shared.wire import Line

LOAD_TIMEOUT = 5.0
"""Seconds a chunk of a load may take: a busy server is no reason to begin again."""


class State(TypedDict):
    """What the lifespan yields to requests."""

    games: Games
    answers: Answers
    seasons: Seasons
    pages: Pages
    rankings: Rankings
    catalogue: Catalogue
    users: Users
    live: Live
    standings: Standings
    short_cuts: ShortCuts | None
    ready: Callable[[], Awaitable[None]]


class App(Router):
    """The routes, and what must end before the server waits for requests to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.direct = {b"GET": direct}
        """Where hot requests go, below ASGI (see shared.direct)."""
        self._live: Live | None = None
        super().__init__(routes(), redirect_slashes=False, lifespan=self._lifespan_of)

    def end_streams(self) -> None:
        """End every open stream: they would otherwise hold up a shutdown."""
        if self._live is not None:
            self._live.end()

    @asynccontextmanager
    async def _lifespan_of(self, _: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            state = await open_state(self._settings, stack)
            settle_down()
            self._live = state["live"]
            yield state


async def open_state(settings: Settings, stack: AsyncExitStack) -> State:
    """Open everything requests need; `stack` closes it."""
    patience = settings.redis_timeout_ms / 1000, LOAD_TIMEOUT
    lines = [open_line(settings.redis_url, timeout=seconds) for seconds in patience]
    for line in lines:
        stack.push_async_callback(line.close)
    lookup_index, load_index = (
        RankingIndex(line, idle_ms=settings.index_idle_seconds * 1000) for line in lines
    )

    def seen(identity: str) -> None:
        lookup_index.database_identity = load_index.database_identity = identity

    primaries = Primaries()
    pool = await stack.enter_async_context(
        open_pool(
            settings.database_url,
            size=settings.rank_pool_size + settings.rank_loads + 2 * settings.rank_fallback_lanes,
            timeout=settings.connect_timeout_ms / 1000,
            name="rank_service",
            on_identity=seen,
            statement_timeout_ms=settings.statement_timeout_ms,
            traced=bool(settings.otel_exporter_otlp_endpoint),
            primaries=primaries,
        )
    )
    games = Games(pool)
    stack.push_async_callback(games.close)
    loader = Loader(load_index, pool, lanes=settings.rank_loads)
    stack.push_async_callback(loader.close)
    lookups = _asker(lines[0], lookup_index, settings.rank_queue)
    stack.push_async_callback(lookups.close)
    store = Store(pool)
    reads = store if not settings.rank_database_url else Store(await _open_standby(settings, stack, pool))
    fallback = Fallback(reads, lanes=settings.rank_fallback_lanes, queue=settings.rank_fallback_queue)
    stack.push_async_callback(fallback.close)
    profiles = Profiles(lookups, pool, ttl_ms=settings.profile_ttl_ms)
    stack.push_async_callback(profiles.close)
    shelf = Shelf(lookup_index, lookups, queue=settings.rank_queue)
    stack.push_async_callback(shelf.close)
    lanes, queue = settings.rank_fallback_lanes, settings.rank_fallback_queue
    sealed = Fallback(Sealed(pool), lanes=lanes, queue=queue)
    stack.push_async_callback(sealed.close)
    yesterday = Yesterday(store)
    stack.push_async_callback(yesterday.close)
    answers = Answers(Sharded(lookups), shelf, fallback, loader, sealed)
    seasons = Seasons(store)
    pages = Pages(answers, profiles)
    live = Live(pages, lambda: Watch(answers, profiles), most=settings.rank_streams)
    stack.push_async_callback(live.close)
    jobs = Jobs(load_index, pool, games, lookups, answers, live, lines[1], yesterday, primaries, seen)
    await _start_jobs(settings, stack, jobs)
    return State(
        games=games,
        answers=answers,
        seasons=seasons,
        pages=pages,
        rankings=Rankings(answers, profiles, yesterday, store),
        catalogue=Catalogue(answers, seasons, store),
        users=Users(store, answers, seasons),
        live=live,
        standings=Standings(pool),
        short_cuts=(
            ShortCuts(games, seasons, lookups, answers, profiles, yesterday, pages)
            if isinstance(lookups, Lookups)
            else None
        ),
        ready=lambda: _ready(pool, lines[0]),
    )


def _asker(line: Line, index: RankingIndex, queue: int) -> Asker:
    if isinstance(line, Cluster):
        return Nodes(line, index, queue=queue)
    return Lookups(index, queue=queue)


async def _open_standby(settings: Settings, stack: AsyncExitStack, primary: Pool) -> Standby:
    pool = open_pool(
        settings.rank_database_url,
        size=settings.rank_fallback_lanes + 1,
        timeout=settings.connect_timeout_ms / 1000,
        name="rank_service reads",
        on_identity=lambda _: None,
        statement_timeout_ms=settings.statement_timeout_ms,
        standby=True,
        traced=bool(settings.otel_exporter_otlp_endpoint),
    )
    standby = Standby(primary, await stack.enter_async_context(pool))
    await stack.enter_async_context(repeated("look at the standby", standby.look, every=1.0))
    return standby


@dataclass(frozen=True)
class Jobs:
    """What the background jobs work with."""

    index: RankingIndex
    pool: Pool
    games: Games
    lookups: Asker
    answers: Answers
    live: Live
    line: Line
    yesterday: Yesterday
    primaries: Primaries
    seen: Callable[[str], None]


async def _start_jobs(settings: Settings, stack: AsyncExitStack, on: Jobs) -> None:
    listening = Listening(on.line, on.games, on.live, on.yesterday)
    lateness = Lateness(on.pool, on.answers)

    def follow(identity: str) -> None:
        on.seen(identity)
        on.answers.behind = ()  # what an old primary has in its outbox is of no account

    succession = Succession(on.line, on.primaries, lambda: on.index.database_identity, follow)
    auditor = Auditor(on.index, on.pool, lambda: on.lookups.used)
    audit_every = settings.rank_audit_ms / 1000
    heart = Heart("rank_service", on.line, lambda: {"streams": on.live.open})
    await stack.enter_async_context(repeated("beat", heart.beat, every=EVERY))
    await stack.enter_async_context(repeated("hear of the primary", succession.look, every=ANNOUNCED_EVERY))
    await stack.enter_async_context(repeated("listen to events", listening.listen, every=0.2))
    await stack.enter_async_context(repeated("look for late writes", lateness.look, every=0.4))
    await stack.enter_async_context(repeated("audit the index", auditor.step, every=audit_every))


async def _ready(pool: Pool, line: Line) -> None:
    """Raise StoreUnavailable when neither store answers."""
    try:
        with translated():
            await pool.fetchval("SELECT 1")
    except StoreUnavailable:
        await line.connect()
