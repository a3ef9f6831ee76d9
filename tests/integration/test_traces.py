"""Traces: one from the caller through every process to each statement and round trip; off, nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from tests.collector import Collector, Seen, collecting
from tests.doors import TOP, Gateway, Service, running_gateway
from tests.stack import Stack, running_stack
from tests.support import wait_until

CALLER = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that sends its traces to the collector; only who demands it is traced."""
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    with running_stack(tmp_path_factory.mktemp("traced"), **settings) as stack:
        yield stack


def demanding(trace: str, flags: str = "01") -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{CALLER}-{flags}", "x-request-id": f"request-{trace}"}


def below(spans: list[Seen], parent: Seen) -> set[str]:
    return {span.name for span in spans if span.parent == parent.id}


def named(spans: list[Seen], service: str, name: str) -> Seen:
    (found,) = [span for span in spans if (span.service, span.name) == (service, name)]
    return found


async def until_quiet(collector: Collector, trace: str, names: set[str]) -> list[Seen]:
    """Return a trace once every span that is waited for has come."""

    def come() -> list[Seen]:
        spans = collector.of(trace)
        return spans if names <= {span.name for span in spans} else []

    found: list[Seen] = await wait_until(come, timeout=15)
    return found


async def test_a_score_is_one_trace_from_the_caller_to_the_stores(
    traced: Stack, collector: Collector
) -> None:
    trace = token_hex(16)
    async with traced.client() as api:
        await api.post("/v1/games/demo/sessions", json={"results": [{"user_id": "warm", "score": 1}]})
        body = {"results": [{"user_id": "ada", "score": 5}]}
        reply = await api.post("/v1/games/demo/sessions", json=body, headers=demanding(trace))
    assert reply.status_code == 201
    door = "POST /v1/games/{game}/sessions"
    spans = await until_quiet(collector, trace, {door, "submit", "commit", "Redis write", "SQL record_batch"})
    gateway, service = named(spans, "gateway", door), named(spans, "score_service", "submit")
    commit = named(spans, "score_service", "commit")
    assert (gateway.parent, service.parent, commit.parent) == (CALLER, gateway.id, service.id)
    assert below(spans, commit) == {"SQL record_batch", "Redis write"}
    assert {gateway.attributes[key] for key in ("http.response.status_code",)} == {201}
    ids = {span.attributes.get("leaderboard.request_id") for span in (gateway, service)}
    assert ids == {f"request-{trace}"}


async def test_a_read_is_a_trace_too(traced: Stack, collector: Collector) -> None:
    trace = token_hex(16)
    async with traced.client() as api:
        body = {"results": [{"user_id": "bob", "score": 5}]}
        await api.post("/v1/games/demo/sessions", json=body)
        path = "/v1/games/demo/leaderboards/global/users/bob"
        assert (await api.get(path, headers=demanding(trace))).status_code == 200
        await api.get("/v1/games/demo/users/bob", headers=demanding(trace))
    door = "GET /v1/games/{game}/leaderboards/{leaderboard}/users/{user_id}"
    names = {door, "entry", "ask the index", "Redis lookup", "user", "SQL user"}
    spans = await until_quiet(collector, trace, names)
    entry = named(spans, "rank_service", "entry")
    assert "ask the index" in below(spans, entry)
    assert "SQL user" in below(spans, named(spans, "rank_service", "user"))
    assert entry.parent in {span.id for span in spans if span.service == "gateway"}


async def test_who_is_not_sampled_leaves_no_span(traced: Stack, collector: Collector) -> None:
    quiet, stranger, loud = token_hex(16), token_hex(16), token_hex(16)
    path = "/v1/games/demo/leaderboards/global/top"
    async with traced.client() as api, traced.client(None) as anyone:
        for client, headers in (
            (api, demanding(quiet, "00")),
            (anyone, demanding(stranger)),
            (api, demanding(loud)),
        ):
            assert (await client.get(path, headers=headers)).status_code == 200
    await until_quiet(collector, loud, {"top"})
    assert collector.of(quiet) == collector.of(stranger) == []


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


def passed_on(gateway: Gateway, service: Service, headers: str) -> str | None:
    """Return the traceparent that the service got."""
    assert gateway.call("GET", TOP, headers=headers).status == 200
    lines = service.seen[-1].decode().split("\r\n")
    return next((line.partition(": ")[2] for line in lines if line.startswith("traceparent:")), None)


def test_off_the_callers_trace_passes_through(service: Service, tmp_path: Path) -> None:
    given = f"00-{'a' * 32}-{CALLER}-01"
    with running_gateway(tmp_path, RANK_URL=service.url) as gateway:
        assert passed_on(gateway, service, f"traceparent: {given}\r\n") == given
        assert passed_on(gateway, service, "") is None


def test_on_the_service_is_told_of_the_gateways_span(service: Service, tmp_path: Path) -> None:
    with collecting() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": "1"}
        with running_gateway(tmp_path, RANK_URL=service.url, **settings) as gateway:
            own = passed_on(gateway, service, "")
            broken = passed_on(gateway, service, "traceparent: nonsense\r\ntracestate: a=b\r\n")
            assert b"tracestate" not in service.seen[-1]
            assert gateway.call("GET", "/nowhere").status == 404
        # A stopping gateway sends what it has.
        assert {f"00-{span.trace}-{span.id}-01" for span in collector.spans} >= {own, broken}
        assert [s.attributes["http.response.status_code"] for s in collector.spans if s.name == "GET"] == [
            404
        ]


@pytest.mark.slow
def test_a_collector_that_is_away_is_nobodys_trouble(service: Service, tmp_path: Path) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER_ARG": "1"}
    with running_gateway(tmp_path, RANK_URL=service.url, **settings) as gateway:
        for _ in range(5):
            assert gateway.call("GET", TOP).status == 200
    assert gateway.process.returncode is not None


async def test_spans_are_counted(traced: Stack, collector: Collector) -> None:
    trace = token_hex(16)
    async with traced.client() as api, httpx.AsyncClient() as plain:
        await api.get("/v1/games/demo/leaderboards/global/top", headers=demanding(trace))
        await until_quiet(collector, trace, {"top"})
        text = (await plain.get(f"http://127.0.0.1:{traced.rank_port}/metrics")).text
    assert 'leaderboard_trace_spans_total{outcome="made"}' in text


def test_off_nothing_of_it_is_even_imported() -> None:
    names = ("gateway", "score_service", "rank_service")
    modules = ", ".join(f"{name}.{part}" for name in names for part in ("app", "__main__"))
    script = f"import sys, {modules}\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # The Redis client imports the metrics' half of it where it is installed.
    ours = {"shared.spans", "shared.traced", "gateway.traces", "opentelemetry.sdk.trace", "google.protobuf"}
    assert ours & {*found.stdout.split()} == set()
