"""`make bench`: the leaderboard, the design it replaces and a constant page, measured in turn.

Nothing here is asserted: figures depend on the machine, ratios to `hello` much less.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any, NamedTuple

import click
import httpx
import psycopg
from redis import Redis

from deploy.embedded import free_ports
from deploy.processes import Program, await_ready, spawn, stop
from tests.benchmarks import report
from tests.benchmarks.load import CLIENT, Ask, run
from tests.benchmarks.report import Figures, Report
from tests.benchmarks.seed import (
    BOARDS,
    GAME,
    Size,
    busy,
    console,
    preload,
    scripts,
    seed,
    stack_client,
    statements,
)
from tests.benchmarks.usage import cpu_of, memory_mb
from tests.stack import Stack, running_stack

NAMES = ("GATEWAY", "SCORE", "RANK", "POSTGRES", "REDIS")


class Scenario(NamedTuple):
    """One thing to measure: who answers, what is asked, over how many connections."""

    name: str
    target: str
    ask: Ask
    connections: int = 32
    quick: bool = False
    """Measured by `bench-quick` too."""


def scenarios(users: int) -> list[Scenario]:
    """Return what is measured, in order."""
    return [
        Scenario("hello", "hello", Ask("hello", users), quick=True),
        Scenario("replaced design: top 10", "baseline", Ask("top", users)),
        Scenario("replaced design: rank", "baseline", Ask("rank", users)),
        Scenario("top 10", "ours", Ask("top", users), quick=True),
        Scenario("rank", "ours", Ask("rank", users), quick=True),
        Scenario("around (11)", "ours", Ask("around", users), quick=True),
        Scenario("mixed 90/10", "ours", Ask("mixed", users), quick=True),
        Scenario("lookup of 50", "ours", Ask("lookup", users)),
        Scenario("submit, 1 result", "ours", Ask("submit", users), quick=True),
        Scenario("submit, 1 result, 64 callers", "ours", Ask("submit", users), 64),
        Scenario("submit, 1 result, 256 callers", "ours", Ask("submit", users), 256, quick=True),
        Scenario("submit, 1 result, 512 callers", "ours", Ask("submit", users), 512, quick=True),
        Scenario("submit, 100 results", "ours", Ask("submit", users, 100), quick=True),
        Scenario("submit, 1 result, 3 boards", "ours", Ask("submit", users, 1, "three")),
        Scenario("submit, 100 results, 3 boards", "ours", Ask("submit", users, 100, "three")),
        Scenario("replaced design: submit", "baseline", Ask("submit", users), 8),
    ]


class Bench(NamedTuple):
    """Everything that runs, and what looks at it."""

    stack: Stack
    urls: dict[str, str]
    pids: dict[str, dict[str, int]]
    db: psycopg.Connection[Any]
    redis: Redis

    def measure(self, scenario: Scenario, seconds: float, pause_ms: float = 0, spread: int = 1) -> Figures:
        """Run one scenario once."""
        pids = self.pids[scenario.target]
        while busy(self.db):  # what the last one left: the replaced design finishes slowly
            Event().wait(0.1)
        before = cpu_of(pids), statements(self.db), scripts(self.redis)
        timing = run(
            self.urls[scenario.target],
            self.stack.values["SUBMIT_KEY"],
            scenario.ask,
            connections=scenario.connections * spread,
            seconds=seconds,
            pause_ms=pause_ms,
        )
        after = cpu_of(pids), statements(self.db), scripts(self.redis)
        asked = max(timing.requests, 1)
        return Figures(
            rate=timing.rate,
            p50_ms=timing.p50_ms,
            p99_ms=timing.p99_ms,
            errors=timing.errors,
            cpu_us={name: (after[0][name] - before[0][name]) / asked * 1e6 for name in pids},
            statements=(after[1] - before[1]) / asked,
            scripts=(after[2] - before[2]) / asked,
        )


@contextmanager
def server(module: str, folder: Path, environ: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Run one of the servers beside this file; yield its URL and process id."""
    (port,) = free_ports(1)
    program = Program(
        module,
        (sys.executable, "-m", f"tests.benchmarks.{module}", str(port)),
        folder / "logs" / f"{module}.log",
        environ={**os.environ, **environ},
    )
    process = spawn(program)
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(url, timeout=1).status_code < 500
        except httpx.HTTPError:
            return False

    try:
        await_ready(process, program, answers, timeout=20)
        yield url, process.pid
    finally:
        stop(process, program)


@contextmanager
def everything(folder: Path, size: Size) -> Iterator[Bench]:
    """Run the stack, seeded, the replaced design and hello."""
    with ExitStack() as opened:
        with running_stack(folder) as stack:
            again = preload(stack)
        stack = opened.enter_context(running_stack(folder))
        assert not (again and preload(stack)), "Postgres does not count statements"
        seed(stack, size)
        values = stack.values
        hello, hello_pid = opened.enter_context(server("hello", folder, {}))
        stores = {"DATABASE_URL": values["DATABASE_URL"], "REDIS_URL": values["REDIS_URL"]}
        baseline, baseline_pid = opened.enter_context(server("baseline", folder, stores))
        servers = {"POSTGRES": stack.pid("POSTGRES"), "REDIS": stack.pid("REDIS")}
        yield Bench(
            stack,
            {"hello": hello, "baseline": baseline, "ours": stack.url},
            {
                "hello": {"SERVICE": hello_pid},
                "baseline": {"SERVICE": baseline_pid, **servers},
                "ours": {name: stack.pid(name) for name in NAMES},
            },
            opened.enter_context(psycopg.connect(values["DATABASE_URL"], autocommit=True)),
            opened.enter_context(Redis.from_url(values["REDIS_URL"])),
        )


def warm(bench: Bench) -> dict[str, float]:
    """Load the index of every board; return what each process held, in MB, after the first."""
    memory: dict[str, float] = {}
    with stack_client(bench.stack) as api:
        for board in BOARDS:
            while api.get(f"{GAME}/leaderboards/{board}/top").json().get("source") != "index":
                Event().wait(0.1)
            memory = memory or {name: memory_mb(bench.stack.pid(name)) for name in NAMES}
    return memory


def rounds(bench: Bench, chosen: list[Scenario], count: int, seconds: float, half: bool) -> dict[str, Any]:
    """Measure everything in turn, `count` times; then at half the rate; return figures by scenario."""
    found: dict[str, list[Figures]] = {scenario.name: [] for scenario in chosen}
    for at in range(count):
        for scenario in chosen:
            figures = bench.measure(scenario, seconds)
            found[scenario.name].append(figures)
            said = f"round {at + 1}: {scenario.name:32} {figures.rate:>9,.0f}/s  p99 {figures.p99_ms:.1f} ms"
            console.print(said + (f"  {figures.errors} ERRORS" if figures.errors else ""))
    halves: dict[str, Figures] = {}
    for scenario in chosen if half else []:
        # Twice the callers, each asking a quarter as often: half the rate, whatever an answer takes.
        period_ms = 4 * scenario.connections / median(f.rate for f in found[scenario.name]) * 1000
        if period_ms > 100 * seconds:
            continue
        halves[scenario.name] = bench.measure(scenario, seconds, pause_ms=period_ms * 0.9, spread=2)
        console.print(f"half load: {scenario.name:32} {halves[scenario.name].rate:>9,.0f}/s")
    return {"full": found, "half": halves}


@click.command()
@click.option("--quick", is_flag=True, help="100,000 users, ratios only, compared with the stored reference.")
@click.option("--users", type=click.IntRange(1000), default=1_000_000)
@click.option("--results", type=click.IntRange(10_000), default=5_000_000)
@click.option("--count", type=click.IntRange(1), default=3, help="Rounds; medians are reported.")
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, help="Of each measurement.")
@click.option("--only", default="", help="Measure only scenarios whose name holds this (and hello).")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".local/bench"))
@click.option("--keep", is_flag=True, help="Store this run as the reference of bench-quick.")
def main(
    quick: bool, users: int, results: int, count: int, seconds: float, only: str, folder: Path, keep: bool
) -> None:
    """Measure the leaderboard; write report.json, report.md and report.svg."""
    if quick:
        users, results, seconds = 100_000, 500_000, min(seconds, 2.0)
    place = (folder / f"{users}").absolute()
    place.mkdir(parents=True, exist_ok=True)
    console.print(f"client: {CLIENT}")
    chosen = [each for each in scenarios(users) if each.quick or not quick]
    chosen = [each for each in chosen if only in each.name or each.name == "hello"]
    with everything(place, Size(users, results)) as bench:
        memory = warm(bench)
        figures = rounds(bench, chosen, count, seconds, half=not quick)
    made = Report.of(CLIENT, users, {scenario.name: scenario.ask for scenario in chosen}, figures, memory)
    report.write(made, place, chart=not quick)
    if not quick:
        console.print("\nReaders of one stream:")
        subprocess.run([sys.executable, "-m", "tests.benchmarks.streams"], check=True)
    if quick:
        report.compare(made, keep=keep)


if __name__ == "__main__":
    main()
