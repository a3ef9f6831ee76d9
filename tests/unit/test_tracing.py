"""Traces inside a process: what a header says, what is linked with what, what is bounded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence

import pytest

from shared.coalesce import Coalescer
from shared.spans import Tracer
from shared.tracing import CURRENT, Parent, parse, start
from tests.collector import Collector, collecting

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-is-to-come", True),
    ],
)
def test_a_callers_header_is_read(header: str, sampled: bool) -> None:
    assert parse(header.encode()) == Parent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_header_that_makes_no_sense_is_none(header: str) -> None:
    assert parse(header.encode()) is None


async def test_a_batch_is_linked_with_all_its_requests(collector: Collector) -> None:
    tracer = Tracer("test", collector.url, 100, [])

    async def flush(items: Sequence[int]) -> Sequence[int]:
        current = CURRENT.get()
        if current is not None:
            current.statement("SELECT 1", 0.001, None)
        return items

    coalescer: Coalescer[int, int] = Coalescer(flush, name="commit", batch=10, queue=10)

    async def plain(item: int) -> None:
        await coalescer.get(item)

    async def ask(item: int) -> None:
        with tracer.serve(f"request {item}", None, {}).current():
            await coalescer.get(item)

    await asyncio.gather(*map(ask, range(3)), plain(3))
    await plain(4)  # nobody who asks for this one is traced
    tracer.close()
    spans = {span.name: span for span in collector.spans}
    requests = [spans[f"request {item}"] for item in range(3)]
    batch = spans["commit"]
    assert (batch.parent, batch.links) == (requests[0].id, {requests[1].id, requests[2].id})
    assert [request.links for request in requests] == [set(), {batch.id}, {batch.id}]
    assert (spans["SQL SELECT"].parent, len(collector.spans)) == (batch.id, 5)
    assert batch.attributes["leaderboard.batch_size"] == 4


async def test_a_batch_is_traced_only_for_who_waits_and_is(collector: Collector) -> None:
    tracer = Tracer("test", collector.url, 100, [])
    gate = asyncio.Event()
    traced: list[bool] = []

    async def flush(items: Sequence[int]) -> Sequence[int]:
        traced.append(CURRENT.get() is not None)
        await gate.wait()
        return items

    coalescer: Coalescer[int, int] = Coalescer(flush, batch=10, queue=10)
    with tracer.serve("first", None, {}).current():
        first = coalescer.get(0)
    await asyncio.sleep(0)
    with tracer.serve("went away", None, {}).current():
        coalescer.get(1).cancel()
    second = coalescer.get(2)
    gate.set()
    await asyncio.gather(first, second)
    tracer.close()
    assert traced == [True, False]
    assert sorted(span.name for span in collector.spans) == ["batch", "first", "went away"]


def test_what_waits_to_be_sent_is_bounded(collector: Collector) -> None:
    collector.open.clear()
    tracer = Tracer("test", collector.url, 8, [])
    for n in range(100):
        tracer.serve(f"request {n}", None, {}).end()
    collector.open.set()
    tracer.close()
    # At most what was on its way when the queue filled up, and a queue full of the latest.
    assert 8 <= len(collector.spans) <= 24
    assert collector.spans[-1].name == "request 99"


def test_an_error_is_on_its_span(collector: Collector) -> None:
    tracer = Tracer("test", collector.url, 8, [])
    span = tracer.serve("request", None, {})
    with pytest.raises(ValueError, match="broken"), span.current(), span.child("inner", {}):
        raise ValueError("broken")
    tracer.close()
    assert {span.name: span.failed for span in collector.spans} == {"request": True, "inner": True}


def test_without_its_packages_tracing_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shared.spans", None)
    with pytest.raises(SystemExit, match="needs the extra `traces` installed"):
        start("gateway", "http://127.0.0.1:4318", 8)
    assert start("gateway", "", 8) is None
