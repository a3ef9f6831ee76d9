"""How our servers speak HTTP: uvicorn's httptools protocol, with one system call an answer.

ASGI sends a head and a body as two messages and uvicorn writes each to the socket at once: two
system calls, two packets, two wake-ups of the reader. Here, what is written in one turn of the
event loop leaves together at its end.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from shared.asgi import Call, Endpoint, Reply
from shared.direct import Direct, DirectProtocol, Turn
from shared.framed import Framed
from shared.frames import ACCEPTED
from shared.gathering import GatheringTransport
from shared.sockets import Listener
from shared.supervise import repeated
from shared.tracing import start

log = logging.getLogger(__name__)

STARTUP_FAILURE = 3
"""The exit status of a server that did not start; uvicorn's own."""

LEAVE_LEAST = 1.0
"""Seconds for which a server that is about to go still serves, if anyone is connected: gateways
look at `/healthz` four times a second."""

LEAVE_TICK = 0.1

HEALTH = frozenset({b"/healthz", b"/readyz"})


async def _leaving(_: Call) -> Reply:
    return Reply(503, b'{"status":"leaving"}')


LEAVING = Direct(Endpoint(_leaving), {}, b"")


class Protocol(DirectProtocol):
    """What uvicorn runs for each connection (`uvicorn.run(http=Protocol)`)."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over a connection."""
        self._raw = transport
        self._gathering = GatheringTransport(transport, self.loop)
        super().connection_made(self._gathering)  # type: ignore[arg-type]

    def become_framed(self) -> bool:
        """Hand the connection over to what answers many requests at once."""
        if not self._finds:
            return False
        self.connections.discard(self)
        framed = Framed(self._finds, self.app_state, self.server_state)
        self._raw.write(ACCEPTED)
        self._raw.set_protocol(framed)
        framed.connection_made(self._raw)
        return True

    def write_whole(self, answer: bytes) -> None:
        """Write an answer that has no second part to wait for."""
        self._gathering.write_now(answer)

    def on_headers_complete(self) -> None:
        """Answer; in a server that is about to go, tell the caller not to come again."""
        is_leaving = self._is_leaving
        if is_leaving and self._is_idle and self.url in HEALTH:
            turn = Turn()
            self.cycle = turn  # type: ignore[assignment]
            self._begin(turn, LEAVING, self._call(LEAVING))
        else:
            super().on_headers_complete()
        if is_leaving:
            self.cycle.keep_alive = False


class State(ServerState):
    """What connections know of their server."""

    leaving = False


class Server(uvicorn.Server):
    """A server that can be replaced without one failed request.

    Told to stop, it goes on serving while callers learn of it: `/healthz` and `/readyz` say so, and every
    answer closes its connection. Gateways then send nothing more and close what is idle, so no request
    crosses a close on its way; only then, or after `leave_seconds`, the port is closed.

    Args:
        config: the application and its port.
        leave_seconds: see above.
        path: a Unix socket to serve on as well; empty: none.
    """

    def __init__(self, config: uvicorn.Config, *, leave_seconds: float, path: str = "") -> None:
        super().__init__(config)
        self.server_state = State()
        self._leave_seconds = leave_seconds
        self._path = path
        self._listener: Listener | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving."""
        await super().startup(sockets)
        if self._path:
            await self._listen()

    async def _listen(self) -> None:
        try:
            self._listener = Listener(self._path, self.config.backlog)
        except OSError as error:  # as uvicorn does where a port is taken
            log.error("cannot serve on the socket %s: %s", self._path, error)  # noqa: TRY400 - it says all
            for server in self.servers:
                server.close()
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        loop = asyncio.get_running_loop()
        listening = await loop.create_unix_server(
            lambda: Protocol(self.config, self.server_state, self.lifespan.state), sock=self._listener.socket
        )
        self.servers.append(listening)

    async def leave(self) -> None:
        """End what would not end by itself; called again and again from the signal on."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self.server_state.leaving = True  # type: ignore[attr-defined]
        async with repeated("leave", self.leave, every=LEAVE_TICK):
            await self._stay()
            if self._listener is not None:
                self._listener.remove()
            await super().shutdown(sockets)

    async def _stay(self) -> None:
        began = asyncio.get_running_loop().time()
        least = min(LEAVE_LEAST, self._leave_seconds) if self.server_state.connections else 0.0
        stayed = 0.0
        while stayed < self._leave_seconds and not self.force_exit:
            if stayed >= least and not self.server_state.connections:
                return
            await asyncio.sleep(LEAVE_TICK)
            stayed = asyncio.get_running_loop().time() - began


def configured(app: ASGIApp, *, host: str, port: int, drain_seconds: int) -> uvicorn.Config:
    """Return how every service is served: no headers nobody asked for, our logs, a bounded drain."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=drain_seconds,
    )


def traced(app: ASGIApp, service: str, endpoint: str, queue: int, sql: Path) -> ASGIApp:
    """Return an application that traces its sampled requests; itself where tracing is off."""
    tracer = start(service, endpoint, queue, sql)
    if tracer is None:
        return app
    from shared.traced import Traced  # and with it OpenTelemetry, which others need not have

    return Traced(app, tracer)


def serve(server: uvicorn.Server) -> int:
    """Serve until told to stop; return the process's exit status: 3, as uvicorn's, for a failed start."""
    server.run()
    return 0 if server.started else STARTUP_FAILURE
