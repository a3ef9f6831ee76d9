"""What is being traced, if anything is. Off by default: then a hot path looks at `CURRENT`, and that is all.

Nothing here imports OpenTelemetry; `shared.spans` does, which is imported where tracing is on. The
gateway decides what is sampled; behind it `traceparent` (W3C Trace Context) says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import Counter

if TYPE_CHECKING:
    from shared.spans import Span, Tracer

SPANS = Counter("leaderboard_trace_spans_total", "Spans of traces, by what became of them.", ["outcome"])

CURRENT: ContextVar[Span | None] = ContextVar("CURRENT", default=None)
"""The span under way; None where tracing is off or this request is not sampled."""

_HEADER = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Parent(NamedTuple):
    """The span of whoever calls, as `traceparent` says."""

    trace_id: int
    span_id: int
    sampled: bool

    @property
    def unsampled(self) -> bytes:
        """The header that says the same, but: do not sample."""
        return b"00-%032x-%016x-00" % (self.trace_id, self.span_id)


def parse(header: bytes | None) -> Parent | None:
    """Read a `traceparent`; None when there is none, or none that makes sense."""
    found = _HEADER.fullmatch(header) if header is not None else None
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    parent = Parent(int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & 1))
    return parent if parent.trace_id and parent.span_id else None


def start(service: str, endpoint: str, queue: int, sql: Path | None = None) -> Tracer | None:
    """Return what makes spans and sends them to a collector; None without an endpoint.

    Args:
        service: the name it has in traces.
        endpoint: where OTLP over HTTP is taken; `/v1/traces` is appended.
        queue: the most spans that wait to be sent; past it the oldest go.
        sql: the folder of the service's named statements.

    Raises:
        SystemExit: tracing is wanted, and OpenTelemetry is not installed.
    """
    if not endpoint:
        return None
    try:
        from shared.spans import Tracer
    except ImportError as error:
        raise SystemExit(
            f"{service}: OTEL_EXPORTER_OTLP_ENDPOINT needs the extra `traces` installed: {error}"
        ) from error
    return Tracer(service, endpoint, queue, [Path(__file__).parent / "sql", *([sql] if sql else [])])


@contextmanager
def batch(name: str, spans: Iterable[Span], size: int) -> Iterator[None]:
    """Trace work done for many requests at once: below the first of them, linked with all the others."""
    first, *others = dict.fromkeys(spans)
    with first.child(name, {"leaderboard.batch_size": size}, others):
        yield


def statement(record: Any) -> None:
    """Trace a statement that has just ended (a query logger of asyncpg's, set where tracing is on)."""
    if (span := CURRENT.get()) is not None:
        span.statement(record.query, record.elapsed, record.exception)
