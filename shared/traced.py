"""A service's application with a span around each request that its caller samples.

Imported only where tracing is on. Streams are left out: they have no end to wait for.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.asgi import Call, Endpoint, Reply, Steps, Stream
from shared.direct import Direct, Find, Finds
from shared.routing import Methods
from shared.spans import Attributes, Tracer
from shared.tracing import Parent, parse


class Traced:
    """An application whose sampled requests are traced; its short way (see shared.direct) too."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._endpoints: dict[Endpoint, TracedEndpoint] = {}
        finds: Finds = getattr(app, "direct", {})
        self.direct: Finds = {method: self._tracing(method.decode(), find) for method, find in finds.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan and send the last spans at its end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._closing(send))
            return
        parent = _sampled(dict(scope["headers"]).get(b"traceparent"))
        if parent is None or scope["path"].endswith("/stream"):
            await self._app(scope, receive, send)
            return
        statuses: list[int] = []

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        request_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        span = self._tracer.serve("request", parent, _attributes(scope["method"], request_id))
        with span.current():
            await self._app(scope, receive, note)
            endpoint = scope.get("endpoint")
            name = endpoint.name_of(scope["method"]) if isinstance(endpoint, Methods) else "request"
            span.answered(name, statuses[0] if statuses else 499)

    def _tracing(self, method: str, find: Find) -> Find:
        return lambda url: self._traced(method, find(url))

    def _traced(self, method: str, found: Direct | None) -> Direct | None:
        if found is None or found.endpoint.is_stream:
            return found
        traced = self._endpoints.get(found.endpoint)
        if traced is None:
            traced = self._endpoints[found.endpoint] = TracedEndpoint(method, found.endpoint, self._tracer)
        return found._replace(endpoint=traced)

    def _closing(self, send: Send) -> Send:
        async def closing(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown"):
                self._tracer.close()
            await send(message)

        return closing


class TracedEndpoint(Endpoint):
    """An endpoint of the short way whose sampled requests are traced; the others take its short cut."""

    __slots__ = ("_inner", "_method", "_tracer")

    def __init__(self, method: str, inner: Endpoint, tracer: Tracer) -> None:
        super().__init__(inner._handler, short_cut=self._untraced if inner.short_cut is not None else None)
        self._method = method
        self._inner = inner
        self._tracer = tracer

    async def answer(self, call: Call) -> Reply | Stream | None:
        """Return the answer to one request."""
        parent = _sampled(call.header(b"traceparent"))
        if parent is None:
            return await self._inner.answer(call)
        span = self._tracer.serve("request", parent, _attributes(self._method, call.request_id))
        with span.current():
            reply = await self._inner.answer(call)
            span.answered(self._inner.name, reply.status if isinstance(reply, Reply) else 499)
        return reply

    def _untraced(self, call: Call) -> Steps:
        if self._inner.short_cut is None or _sampled(call.header(b"traceparent")) is not None:
            return None
        return (yield from self._inner.short_cut(call))


def _sampled(header: bytes | None) -> Parent | None:
    parent = parse(header)
    return parent if parent is not None and parent.sampled else None


def _attributes(method: str, request_id: str) -> Attributes:
    return {"http.request.method": method, "leaderboard.request_id": request_id}
