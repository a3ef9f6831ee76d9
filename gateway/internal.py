"""The internal port: health, readiness and metrics, for those who run this. Never public."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.service import Gateway

log = logging.getLogger(__name__)


@asynccontextmanager
async def serve_internal(gateway: Gateway) -> AsyncIterator[None]:
    """Serve the internal port while the block lasts."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        # One service away leaves the other's routes; without any there is nothing this could do.
        away = gateway.away()
        is_ready = not gateway.is_stopping and len(away) < len(gateway.upstreams)
        status = "ready" if is_ready else "stopping" if gateway.is_stopping else "no service"
        return JSONResponse({"status": status, "away": away}, 200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest() + generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    registry = CollectorRegistry()
    registry.register(gateway.access)
    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
    config = Config(Router(routes), log_config=None, access_log=False, server_header=False, ws="none")
    state = ServerState()
    settings = gateway.settings
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpToolsProtocol(config, state, {}),
        settings.gateway_internal_host,
        settings.gateway_internal_port,
    )
    port = server.sockets[0].getsockname()[1]
    log.info("internal port", extra={"port": port})
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
