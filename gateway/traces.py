"""The gateway's part of traces: who is sampled, a span for each request, `traceparent` for the services.

A caller's `traceparent` is always continued. Whether it may also demand to be sampled depends: a key of
the operator's may, strangers and players cannot, or anyone could have everything traced.
"""

from __future__ import annotations

import random
import time

from gateway.request import Request
from shared.spans import Span, Tracer
from shared.tracing import Parent, parse


class Traces:
    """The spans of the requests under way.

    Args:
        tracer: makes them.
        ratio: how many of the requests without a say of their own are sampled, 0 to 1.
    """

    def __init__(self, tracer: Tracer, ratio: float) -> None:
        self._tracer = tracer
        self._ratio = ratio
        self._open: dict[Request, Span | None] = {}

    def enter(self, request: Request) -> None:
        """Begin the span of a request that goes on to a service, and have the service told of it."""
        if request.route.is_stream:
            return
        fields = request.fields
        parent = parse(fields.get(b"traceparent"))
        if parent is None:
            fields.pop(b"traceparent", None)
            fields.pop(b"tracestate", None)
        span = self._open[request] = self._begin(request, parent)
        if span is not None:
            fields[b"traceparent"] = span.header
        elif parent is not None:
            fields[b"traceparent"] = parent.unsampled

    def leave(self, request: Request, status: int) -> None:
        """End the span of an answered request; one that went to no service begins here too."""
        if request.route.is_stream:
            return
        if request in self._open:
            span = self._open.pop(request)
        else:
            span = self._begin(request, parse(request.fields.get(b"traceparent")))
        if span is not None:
            method, pattern = request.method.decode("latin-1"), request.route.pattern
            span.answered(f"{method} {pattern}".strip(), status)
            span.end()

    def _begin(self, request: Request, parent: Parent | None) -> Span | None:
        if not self._wants(request, parent):
            return None
        age = time.perf_counter() - request.began
        attributes = {
            "http.request.method": request.method.decode("latin-1"),
            "http.route": request.route.pattern,
            "url.path": request.target.partition(b"?")[0].decode("latin-1"),
            "leaderboard.request_id": request.id.decode(),
        }
        if request.grant is not None:
            attributes["leaderboard.key_id"] = request.grant.key.key_id
        return self._tracer.serve("request", parent, attributes, time.time_ns() - int(age * 1e9))

    def _wants(self, request: Request, parent: Parent | None) -> bool:
        grant = request.grant
        if parent is not None and grant is not None and grant.player is None:
            return parent.sampled
        return random.random() < self._ratio  # noqa: S311

    def close(self) -> None:
        """Send what waits."""
        self._tracer.close()
