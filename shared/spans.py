"""Spans, made with OpenTelemetry's SDK and sent in the background to a collector over OTLP/HTTP.

Imported only where tracing is on. What waits to be sent is bounded; sending happens in a thread of the
SDK's, and a collector that is away costs spans, never an answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from shared.queries import load
from shared.tracing import CURRENT, SPANS, Parent

FLUSH_SECONDS = 3.0
"""How long a stopping process tries to send the last spans."""

SEND_SECONDS = 5.0
"""How long one attempt to send may take."""

MAX_BATCH = 512
"""Spans sent together."""

Attributes = Mapping[str, str | int | float | bool]

_MADE, _SENT, _FAILED = (SPANS.labels(outcome) for outcome in ("made", "sent", "failed"))


class Span:
    """A span under way."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: Tracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def header(self) -> bytes:
        """The `traceparent` for whoever is called."""
        context = self._span.get_span_context()
        return b"00-%032x-%016x-01" % (context.trace_id, context.span_id)

    @contextmanager
    def child(self, name: str, attributes: Attributes, linked: Iterable[Span] = ()) -> Iterator[Span]:
        """Trace a block below this span; `linked` are other spans it works for, which learn of it."""
        others = list(linked)
        links = [Link(other._span.get_span_context()) for other in others]
        span = self._tracer.begin(name, self._span, attributes, SpanKind.INTERNAL, links=links)
        for other in others:
            other._span.add_link(span._span.get_span_context())
        with span.current():
            yield span

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the span under way for the length of a block, and end it."""
        token = CURRENT.set(self)
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            CURRENT.reset(token)
            self.end()

    def statement(self, sql: str, seconds: float, error: BaseException | None) -> None:
        """Trace a statement of SQL that has ended just now."""
        # Without a name of ours: the last command's, which a COMMIT is.
        name = self._tracer.statements.get(sql) or sql.strip("; \n").rpartition(";")[2].split(None, 1)[0]
        attributes = {"db.system.name": "postgresql", "db.query.summary": name, "db.query.text": sql}
        ended = time.time_ns()
        span = self._tracer.begin(
            f"SQL {name}", self._span, attributes, SpanKind.CLIENT, ended - int(seconds * 1e9)
        )
        if error is not None:
            span._fail(error)
        span.end()

    def answered(self, name: str, status: int) -> None:
        """Note what a request turned out to be, and the status of its answer."""
        self._span.update_name(name)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """End it."""
        self._span.end()
        _MADE.inc()

    def _fail(self, error: BaseException) -> None:
        self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:500]))


class Tracer:
    """Makes spans on behalf of one service.

    Args:
        service: its name in traces.
        endpoint: the collector; `/v1/traces` is appended.
        queue: the most spans that wait to be sent.
        folders: where named statements are, for the names of their spans.
    """

    def __init__(self, service: str, endpoint: str, queue: int, folders: Sequence[Path]) -> None:
        self.statements = {query.sql: name for folder in folders for name, query in load(folder).items()}
        resource = Resource.create(
            {"service.name": service, "service.version": version("gaming-leaderboard")}
        )
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        sender = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_SECONDS)
        self._provider.add_span_processor(
            BatchSpanProcessor(
                Counted(sender), max_queue_size=queue, max_export_batch_size=min(queue, MAX_BATCH)
            )
        )
        self._tracer = self._provider.get_tracer("leaderboard")

    def begin(
        self,
        name: str,
        parent: OtelSpan | None,
        attributes: Attributes,
        kind: SpanKind,
        started: int | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """Begin a span, now or at `started` (nanoseconds since 1970)."""
        context = set_span_in_context(parent) if parent is not None else None
        span = self._tracer.start_span(name, context, kind, attributes, links, started)
        return Span(self, span)

    def serve(
        self, name: str, parent: Parent | None, attributes: Attributes, started: int | None = None
    ) -> Span:
        """Begin the span of a request, below the caller's."""
        caller = None
        if parent is not None:
            context = SpanContext(
                parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            caller = NonRecordingSpan(context)
        return self.begin(name, caller, attributes, SpanKind.SERVER, started)

    def close(self) -> None:
        """Send what waits, for a bounded time."""
        # A thread of our own: the SDK's would be waited for much longer while a collector is away.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(FLUSH_SECONDS)


class Counted(SpanExporter):
    """Sends spans and counts what became of them."""

    def __init__(self, sender: OTLPSpanExporter) -> None:
        self._sender = sender

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        result = self._sender.export(spans)
        (_SENT if result is SpanExportResult.SUCCESS else _FAILED).inc(len(spans))
        return result

    def shutdown(self) -> None:
        """Stop trying."""
        self._sender.shutdown()  # type: ignore[no-untyped-call]
