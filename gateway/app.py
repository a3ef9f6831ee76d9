"""What the gateway is made of, opened and closed in what order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from starlette.applications import Starlette
from starlette.routing import Router

from gateway.internal import serve_internal
from gateway.keys import Keyring
from gateway.players import Players
from gateway.service import Gateway
from gateway.settings import Settings
from gateway.upstream import Upstream
from shared.supervise import repeated
from shared.tracing import start
from shared.tuning import settle_down

if TYPE_CHECKING:
    from gateway.quota import Quota


class State(TypedDict):
    """What the lifespan yields; `door` takes the gateway from it."""

    gateway: Gateway


def create_app(settings: Settings) -> Router:
    """Build the application; nothing is opened before its lifespan starts.

    It has no routes: the public port is served by `door`, uvicorn's part is the lifespan, the
    listening and the signals.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with AsyncExitStack() as stack:
            yield await _open(settings, stack)

    return Router(lifespan=lifespan)


async def _open(settings: Settings, stack: AsyncExitStack) -> State:
    revoked = Path(settings.revoked_keys_file) if settings.revoked_keys_file else None
    keyring = Keyring(Path(settings.jwks_file), revoked, _players(settings))
    upstreams = {
        name: Upstream(
            name,
            url,
            connections=settings.max_upstream_connections,
            waiting=settings.max_upstream_waiting,
            streams=settings.max_upstream_streams,
            shared=settings.max_upstream_shared,
            patience=settings.restart_patience_ms / 1000,
        )
        for name, url in (("score", settings.score_url), ("rank", settings.rank_url))
    }
    gateway = Gateway(settings, keyring, upstreams, await _quota(settings, stack))
    _trace(settings, gateway, stack)
    await stack.enter_async_context(repeated("read the keys again", keyring.refresh, every=1.0))
    for name, upstream in upstreams.items():
        stack.push_async_callback(upstream.close)
        await stack.enter_async_context(repeated(f"resolve {name}", upstream.resolve, every=2.0))
        await stack.enter_async_context(repeated(f"probe {name}", upstream.probe, every=0.25))
        await stack.enter_async_context(repeated(f"trim {name}", upstream.trim, every=5.0))
    await stack.enter_async_context(repeated("cut the slow", gateway.sweep, every=0.25))
    stack.push_async_callback(gateway.tick)
    await stack.enter_async_context(repeated("tick", gateway.tick, every=0.25))
    await stack.enter_async_context(serve_internal(gateway))
    for upstream in upstreams.values():
        # A name that does not resolve yet is looked up again and again by the job above.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(1.0):
                await upstream.resolve()
    settle_down()
    return State(gateway=gateway)


async def _quota(settings: Settings, stack: AsyncExitStack) -> Quota | None:
    if not settings.limits_redis_url:
        return None
    from gateway.quota import Quota  # and with it the Redis client, which others need not hold

    quota = Quota(settings.limits_redis_url, settings.limits_timeout_ms / 1000)
    stack.push_async_callback(quota.close)
    await stack.enter_async_context(repeated("share rate limits", quota.serve, every=0.1))
    return quota


def _trace(settings: Settings, gateway: Gateway, stack: AsyncExitStack) -> None:
    tracer = start("gateway", settings.otel_exporter_otlp_endpoint, settings.otel_bsp_max_queue_size)
    if tracer is not None:
        from gateway.traces import Traces  # and with it OpenTelemetry, which others need not have

        gateway.traces = Traces(tracer, settings.otel_traces_sampler_arg)
        stack.callback(gateway.traces.close)


def _players(settings: Settings) -> Players | None:
    if not settings.player_jwks_file:
        return None
    return Players(
        Path(settings.player_jwks_file),
        settings.player_issuer,
        settings.player_audience,
        settings.player_claim,
        settings.player_games,
    )
