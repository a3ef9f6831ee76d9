"""What rank_service is made of, opened and closed in what order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.routing import Router

from rank_service.answers import Answers
from rank_service.catalogue import Catalogue
from rank_service.fallback import Fallback
from rank_service.index import Lookups
from rank_service.names import Profiles
from rank_service.pages import Pages
from rank_service.routes import routes
from rank_service.rules import Views
from rank_service.service import Rankings
from rank_service.settings import Settings
from rank_service.store import Store
from rank_service.users import Users
from shared.boards import Games
from shared.errors import StoreUnavailable
from shared.index import RankingIndex
from shared.loading import Loader
from shared.postgres import Pool, open_pool, translated
from shared.wire import Wire

LOAD_TIMEOUT = 5.0
"""Seconds a chunk of a load may take: a busy server is no reason to begin again."""


class State(TypedDict):
    """What the lifespan yields to requests."""

    games: Games
    views: Views
    pages: Pages
    rankings: Rankings
    catalogue: Catalogue
    users: Users
    ready: Callable[[], Awaitable[None]]


def create_app(settings: Settings) -> Router:
    """Build the application; nothing is opened before its lifespan starts."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            yield await open_state(settings, stack)

    return Router(routes(), redirect_slashes=False, lifespan=lifespan)


async def open_state(settings: Settings, stack: AsyncExitStack) -> State:
    """Open everything requests need; `stack` closes it."""
    wires = [
        Wire(settings.redis_url, timeout=seconds)
        for seconds in (settings.redis_timeout_ms / 1000, LOAD_TIMEOUT)
    ]
    for wire in wires:
        stack.push_async_callback(wire.close)
    lookup_index, load_index = (
        RankingIndex(wire, idle_ms=settings.index_idle_seconds * 1000) for wire in wires
    )

    def seen(identity: str) -> None:
        lookup_index.database_identity = load_index.database_identity = identity

    pool = await stack.enter_async_context(
        open_pool(
            settings.database_url,
            size=settings.rank_pool_size + settings.rank_loads + settings.rank_fallback_lanes,
            timeout=settings.connect_timeout_ms / 1000,
            name="rank_service",
            on_identity=seen,
            statement_timeout_ms=settings.statement_timeout_ms,
        )
    )
    games = Games(pool)
    stack.push_async_callback(games.close)
    loader = Loader(load_index, pool, lanes=settings.rank_loads)
    stack.push_async_callback(loader.close)
    lookups = Lookups(lookup_index, queue=settings.rank_queue)
    stack.push_async_callback(lookups.close)
    store = Store(pool)
    fallback = Fallback(store, lanes=settings.rank_fallback_lanes, queue=settings.rank_fallback_queue)
    stack.push_async_callback(fallback.close)
    profiles = Profiles(lookups, pool, ttl_ms=settings.profile_ttl_ms)
    stack.push_async_callback(profiles.close)
    answers = Answers(lookups, fallback, loader)
    views = Views()
    return State(
        games=games,
        views=views,
        pages=Pages(answers, profiles),
        rankings=Rankings(answers, profiles),
        catalogue=Catalogue(answers, views),
        users=Users(store, answers, views),
        ready=lambda: _ready(pool, wires[0]),
    )


async def _ready(pool: Pool, wire: Wire) -> None:
    """Raise StoreUnavailable when neither store answers."""
    try:
        with translated():
            await pool.fetchval("SELECT 1")
    except StoreUnavailable:
        await wire.connect()
