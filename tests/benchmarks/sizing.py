"""How many of what a launch needs, from measured CPU a request: `python -m tests.benchmarks.sizing`.

Prints a table of replicas, and a simulation of the largest size: requests arrive at random, queue at
the least busy replica of each tier, and read every shard of the index at once. It takes its times from
a report of `make bench` and states what it assumes; it is a model, not a measurement.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

import click
import msgspec

from tests.benchmarks.report import Report
from tests.benchmarks.seed import console

BUSY = 0.5
"""How much of a core the plan lets a process use at the peak: half is left for the other half's failure."""

READS = {"rank": 0.6, "top 10": 0.25, "around (11)": 0.15}
"""What apps ask, assumed: one's own rank at every start, the top when it is opened."""

INDEX_MB = 127
"""Of Valkey for a million entries (`python -m tests.benchmarks.loading`)."""

NODE_GB = 4
"""The most one Valkey node is given: a new one loads 30 million entries in some minutes."""

PLAYER_BYTES = 350
"""Of Postgres for a player with one board: row, entry, indexes (`tests.benchmarks.growth` prints them)."""

RESULT_BYTES = 410
"""Of Postgres for a session of one result, with their indexes (the same)."""

ACTIVE, SESSIONS, LOOKS, PEAK = 0.1, 10, 40, 4
"""Of all players on a day, sessions and reads of each of those, and the peak against the day's mean."""

ASSUMED = (
    f"a tenth of the players is there on a day, with {SESSIONS} results and {LOOKS} reads each"
    f" ({', '.join(f'{share:.0%} {name}' for name, share in READS.items())}); the peak is {PEAK} x the mean;"
    f" sessions have one result on one board; processes are planned to {BUSY:.0%} of a core; service times"
    " are exponential around the measured CPU a request; the network takes no time; a read of a sharded board"
    " asks every shard and costs each what it would cost the only one."
)


class Size(NamedTuple):
    """A launch: its players, and sessions and reads a second at the peak."""

    players: int
    writes: float
    reads: float

    @classmethod
    def of(cls, players: int) -> Size:
        """Return what so many players do."""
        each = players * ACTIVE / 86_400 * PEAK
        return cls(players, each * SESSIONS, each * LOOKS)


SIZES = tuple(Size.of(players) for players in (100_000, 1_000_000, 10_000_000, 100_000_000))


class Costs(NamedTuple):
    """Microseconds of CPU in each process, of a write and of the mean read."""

    write: dict[str, float]
    read: dict[str, float]

    @classmethod
    def of(cls, report: Report) -> Costs:
        """Take them from a report of the benchmark."""
        found = {line.name: line.full.cpu_us for line in report.lines}
        read = {
            name: sum(share * found[operation].get(name, 0.0) for operation, share in READS.items())
            for name in ("GATEWAY", "RANK", "REDIS")
        }
        return cls(found["submit, 1 result"], read)


class Plan(NamedTuple):
    """How many processes of each kind, and what the stores hold."""

    gateways: int
    scores: int
    ranks: int
    shards: int
    postgres_cores: int
    valkey_gb: float
    postgres_gb: float
    """To begin with."""

    postgres_gb_a_month: float


def plan(size: Size, costs: Costs) -> Plan:
    """Return what a size needs; two of every stateless process at least."""

    def cores(name: str) -> float:
        return (
            (size.writes * costs.write.get(name, 0.0) + size.reads * costs.read.get(name, 0.0)) / 1e6 / BUSY
        )

    gigabytes = size.players / 1e6 * INDEX_MB / 1000
    # Every shard is asked by every read: more shards make room and take writes, not reads.
    shards = max(math.ceil(gigabytes / NODE_GB), 1)
    month = size.writes / PEAK * 86_400 * 30 * RESULT_BYTES / 1e9
    return Plan(
        max(math.ceil(cores("GATEWAY")), 2),
        max(math.ceil(cores("SCORE")), 2),
        max(math.ceil(cores("RANK")), 2),
        shards,
        max(math.ceil(cores("POSTGRES")), 2),
        gigabytes,
        size.players * PLAYER_BYTES / 1e9,
        month,
    )


def most_reads(costs: Costs) -> float:
    """Return the reads a second of one board that a whole core of Valkey answers: no shard helps there."""
    return 1e6 / costs.read["REDIS"]


Stage = tuple[str, float, bool]
"""A tier, microseconds in it, and whether all of its processes are asked rather than one."""


class Tier:
    """Processes of one kind: when each will have done what it was given."""

    def __init__(self, count: int) -> None:
        self.until = [0.0] * count
        self.used = 0.0

    def serve(self, now: float, micros: float, everyone: bool, draw: Callable[[float], float]) -> float:
        """Give work to the one that is free first, or to each; return when it is done."""
        chosen = (
            range(len(self.until)) if everyone else (min(range(len(self.until)), key=self.until.__getitem__),)
        )
        for at in chosen:
            took = draw(1e6 / micros)
            self.used += took
            self.until[at] = max(self.until[at], now) + took
        return max(self.until[at] for at in chosen)


def stages(costs: Costs, write: bool) -> list[Stage]:
    """Return the way of a request; a write takes the row locks of Postgres, then one shard's apply."""
    if write:
        names = ("GATEWAY", "SCORE", "POSTGRES", "REDIS")
        return [(name, costs.write[name], False) for name in names]
    return [(name, costs.read[name], name == "REDIS") for name in ("GATEWAY", "RANK", "REDIS")]


def arrivals(rng: random.Random, rate: float, seconds: float) -> Iterator[float]:
    """Yield moments at which requests arrive, independently of each other."""
    now = 0.0
    while (now := now + rng.expovariate(rate)) < seconds:
        yield now


def simulate(size: Size, made: Plan, costs: Costs, seconds: float, seed: int) -> dict[str, list[float]]:
    """Let requests through the tiers; return how long each took, in milliseconds, by kind."""
    rng = random.Random(seed)
    tiers = {
        "GATEWAY": Tier(made.gateways),
        "SCORE": Tier(made.scores),
        "RANK": Tier(made.ranks),
        "POSTGRES": Tier(made.postgres_cores),
        "REDIS": Tier(made.shards),
    }
    ways = {kind: stages(costs, kind == "write") for kind in ("write", "read")}
    events = [
        (moment, number, kind, moment, 0)
        for kind, rate in (("write", size.writes), ("read", size.reads))
        for number, moment in enumerate(arrivals(rng, rate, seconds))
    ]
    heapq.heapify(events)
    took: dict[str, list[float]] = {"write": [], "read": []}
    while events:
        now, number, kind, since, at = heapq.heappop(events)
        if at == len(ways[kind]):
            took[kind].append((now - since) * 1000)
            continue
        name, micros, everyone = ways[kind][at]
        done = tiers[name].serve(now, micros, everyone, rng.expovariate)
        heapq.heappush(events, (done, number, kind, since, at + 1))
    for name, tier in tiers.items():
        console.print(
            f"  {name.lower():9} {len(tier.until):4} at {tier.used / seconds / len(tier.until):.0%} of a core"
        )
    return took


def table(costs: Costs) -> str:
    """Return the plans of all sizes as Markdown."""
    head = "players|sessions/s|reads/s|gateway|score_service|rank_service|Valkey nodes|Valkey GB"
    head += "|Postgres cores|Postgres GB|GB a month"
    rows = [head, "|".join("---" for _ in head.split("|"))]
    for size in SIZES:
        made = plan(size, costs)
        cells = [f"{each:,.0f}" for each in (*size, made.gateways, made.scores, made.ranks, made.shards)]
        cells += [f"{made.valkey_gb:.1f}", str(made.postgres_cores), f"{made.postgres_gb:,.1f}"]
        rows.append("|".join([*cells, f"{made.postgres_gb_a_month:,.0f}"]))
    return "\n".join(f"|{row}|" for row in rows)


@click.command()
@click.option("--report", type=click.Path(path_type=Path), default=Path(__file__).with_name("measured.json"))
@click.option("--seconds", type=click.FloatRange(0.01), default=0.3, help="Of simulated time.")
@click.option("--seed", type=int, default=1)
def main(report: Path, seconds: float, seed: int) -> None:
    """Print what each size needs, and simulate the largest."""
    costs = Costs.of(msgspec.json.decode(report.read_bytes(), type=Report))
    console.print(f"Assumed: {ASSUMED}\n")
    console.print(table(costs), markup=False, highlight=False, soft_wrap=True)
    size = SIZES[-1]
    console.print(f"\nOne board answers at most {most_reads(costs):,.0f} reads/s: one core of Valkey.")
    said = f"{size.players:,} players, {size.writes:,.0f} sessions/s, {size.reads:,.0f} reads/s"
    console.print(f"\nSimulated: {said}")
    for kind, found in simulate(size, plan(size, costs), costs, seconds, seed).items():
        cuts = quantiles(found, n=100)
        console.print(f"  {kind}: {len(found):,} requests, p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")


if __name__ == "__main__":
    main()
