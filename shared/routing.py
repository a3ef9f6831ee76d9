"""How every service lays out its paths: handlers by method, and the paths all of them have."""

from __future__ import annotations

from collections.abc import Awaitable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.asgi import Call, Endpoint, Handler, Reply
from shared.errors import LeaderboardError


class Methods:
    """The handlers of one path by method; any other method is a 405."""

    __slots__ = ("_table",)

    def __init__(self, table: dict[str, ASGIApp]) -> None:
        self._table = table

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        # Not a coroutine of its own: ten thousand streams would each hold its frame.
        return self._table.get(scope["method"], _NOT_THIS_WAY)(scope, receive, send)

    def name_of(self, method: str) -> str:
        """Return what the handler of a method is called."""
        endpoint = self._table.get(method)
        return endpoint.name if isinstance(endpoint, Endpoint) else "nothing"


def route(path: str, **handlers: Handler) -> Route:
    """Build the route of one path: `route("/x", GET=read, PUT=write)`; what has GET has HEAD."""
    table: dict[str, ASGIApp] = {method: Endpoint(handler) for method, handler in handlers.items()}
    if "GET" in table:
        table["HEAD"] = table["GET"]
    return Route(path, Methods(table))


async def _not_this_way(call: Call) -> Reply:
    raise LeaderboardError("method_not_allowed", f"{call.method} is not allowed here")


async def _healthz(_: Call) -> Reply:
    return Reply(200, b'{"status":"ok"}')


async def _readyz(call: Call) -> Reply:
    await call.state["ready"]()
    return Reply(200, b'{"status":"ready"}')


async def _metrics(_: Call) -> Reply:
    return Reply(200, generate_latest(), [(b"content-type", CONTENT_TYPE_LATEST.encode())])


async def _nothing_here(_: Call) -> Reply:
    raise LeaderboardError("not_found", "there is nothing at this path")


_NOT_THIS_WAY = Endpoint(_not_this_way)


def common_routes() -> list[BaseRoute]:
    """Return what every service answers on its own port, and the 404 for every other path.

    `/healthz`: the process is alive. `/readyz`: it can do its work; the state's `ready` raises
    when it cannot. `/metrics`: Prometheus' text format.
    """
    return [
        route("/healthz", GET=_healthz),
        route("/readyz", GET=_readyz),
        route("/metrics", GET=_metrics),
        Route("/{path:path}", Endpoint(_nothing_here)),
    ]
