"""What is kept of every request: a line of JSON, a count and a time. Never a token or a query."""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from gateway.request import Request
from gateway.routes import Route

Wanted = Literal["all", "errors", "off"]

ABANDONED = 499
"""The status logged and counted when the client went away before the answer (nginx's number)."""

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of times, in seconds."""


class Tally:
    """What is counted of one route."""

    __slots__ = ("route", "seconds", "statuses", "times")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.statuses: dict[int, int] = {}
        self.times = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    @property
    def labels(self) -> list[str]:
        """The route, as metrics name it."""
        return [self.route.service, self.route.method, self.route.pattern]


class Access(Collector):
    """The access log and the metrics of requests.

    Plain counters in a dictionary, read when Prometheus asks: its own counters take a lock per
    increment, which the hot path has no use for.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._lines: list[bytes] = []
        # By the route's identity: a tuple of nine fields is slow to hash, and the tally keeps it alive.
        self._tallies: dict[int, Tally] = {}
        self.connections = self.held = self.cut = 0
        self.ejected: dict[str, int] = {}

    def note(self, request: Request, status: int, client: str) -> None:
        """Keep what is kept of an answered request."""
        took = time.perf_counter() - request.began
        route = request.route
        tally = self._tallies.get(id(route))
        if tally is None:
            tally = self._tallies[id(route)] = Tally(route)
        tally.statuses[status] = tally.statuses.get(status, 0) + 1
        tally.seconds += took
        tally.times[bisect_left(BOUNDS, took)] += 1
        if self._wanted == "all" or (self._wanted == "errors" and status >= 500):
            self._write(request, status, took, route.service, client)

    def _write(self, request: Request, status: int, took: float, service: str, client: str) -> None:
        line = {
            "time": datetime.now(UTC),
            "service": "gateway",
            "message": "request",
            "method": request.method.decode("latin-1"),
            "path": request.target.partition(b"?")[0].decode("latin-1"),
            "status": status,
            "ms": round(took * 1000, 2),
            "upstream": service,
            "key_id": request.grant.key.key_id if request.grant is not None else None,
            "client": client,
            "request_id": request.id.decode(),
        }
        self._lines.append(orjson.dumps(line))

    async def flush(self) -> None:
        """Write the lines that gathered, in one go."""
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
            sys.stdout.buffer.flush()

    def collect(self) -> Iterable[CounterMetricFamily | HistogramMetricFamily | GaugeMetricFamily]:
        """Hand everything to Prometheus."""
        requests = CounterMetricFamily(
            "leaderboard_gateway_requests",
            "Requests answered.",
            labels=["upstream", "method", "route", "status"],
        )
        for tally in self._tallies.values():
            for status, count in tally.statuses.items():
                requests.add_metric([*tally.labels, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "leaderboard_gateway_seconds", "Time from head to answer.", labels=["upstream", "method", "route"]
        )
        for tally in self._tallies.values():
            seconds.add_metric(tally.labels, _cumulative(tally.times), tally.seconds)
        yield seconds
        gauge = GaugeMetricFamily("leaderboard_gateway_connections", "Client connections open.")
        gauge.add_metric([], self.connections)
        yield gauge
        held = GaugeMetricFamily("leaderboard_gateway_held_bytes", "Request bodies in memory.")
        held.add_metric([], self.held)
        yield held
        cut = CounterMetricFamily(
            "leaderboard_gateway_readers_cut", "Connections cut because their reader was too slow."
        )
        cut.add_metric([], self.cut)
        yield cut
        ejected = GaugeMetricFamily(
            "leaderboard_gateway_ejected_addresses", "Addresses not in use.", labels=["upstream"]
        )
        for service, number in self.ejected.items():
            ejected.add_metric([service], number)
        yield ejected


def _cumulative(times: list[int]) -> list[tuple[str, float]]:
    total, result = 0, []
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], times, strict=True):
        total += count
        result.append((bound, float(total)))
    return result
