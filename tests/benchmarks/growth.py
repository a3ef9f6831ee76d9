"""What an operation costs against how many players there are: `python -m tests.benchmarks.growth`.

Each size has a stack and data of its own, made in Postgres; what is measured is CPU a request of all
processes together, which neighbours on the machine disturb least, the time a load of the index takes
and the memory it holds. Writes growth.json and growth.svg.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import click
import msgspec
import psycopg
from redis import Redis

from tests.benchmarks.load import Ask, run
from tests.benchmarks.report import draw
from tests.benchmarks.seed import GAME, SQL, console, stack_client
from tests.benchmarks.usage import cpu_of
from tests.stack import Stack, running_stack

NAMES = ("GATEWAY", "SCORE", "RANK", "POSTGRES", "REDIS")
OPERATIONS = ("submit", "rank", "top", "around")
COLOURS = ("#d9822b", "#2b6cb0", "#2f855a", "#805ad5")
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 360, 70, 50


class Point(msgspec.Struct, frozen=True):
    """What was found at one size; CPU is microseconds a request, of all processes together."""

    users: int
    load_seconds: float
    index_mb: float
    database_mb: float
    cpu_us: dict[str, float]
    p50_ms: dict[str, float]


def grow(stack: Stack, users: int) -> None:
    """Make a game with so many players, one result each, and its board, unless it was made before."""
    with psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db:
        with stack_client(stack) as api:
            if api.put(GAME, json={"title": "Growth"}).status_code == 200:
                return
        game = db.execute("SELECT game_id FROM games WHERE game = 'bench'").fetchone()
        assert game is not None
        now = datetime.now(UTC)
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        values = {"game": game[0], "users": users, "start": max(now - timedelta(hours=3), month)}
        for name in ("grow_users", "grow_sessions", "grow_results"):
            db.execute(SQL[name], values)
        db.execute("SET work_mem = '256MB'")
        db.execute(SQL["fold_board"], ("global",))
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")
        for table, size in db.execute(SQL["bytes_a_row"]):
            console.print(f"  {table}: {size} bytes a row")


def await_index(stack: Stack) -> float:
    """Read until the index answers; return the seconds that took."""
    began = time.monotonic()
    with stack_client(stack) as api:
        while api.get(f"{GAME}/leaderboards/global/top").json().get("source") != "index":
            Event().wait(0.02)
    return time.monotonic() - began


def measure(stack: Stack, users: int, *, seconds: float, rounds: int) -> Point:
    """Load the index, then measure each operation in turn."""
    pids = {name: stack.pid(name) for name in NAMES}
    cpu: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    p50: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    with (
        Redis.from_url(stack.values["REDIS_URL"]) as redis,
        psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db,
    ):
        redis.flushall()
        before: Any = redis.info("memory")
        load_seconds = await_index(stack)
        after: Any = redis.info("memory")
        for _ in range(rounds):
            for name in OPERATIONS:
                start = cpu_of(pids)
                key = stack.values["SUBMIT_KEY"]
                timing = run(stack.url, key, Ask(name, users), connections=32, seconds=seconds)
                used = sum(cpu_of(pids).values()) - sum(start.values())
                cpu[name].append(used / max(timing.requests, 1) * 1e6)
                p50[name].append(timing.p50_ms)
        size = db.execute("SELECT pg_database_size(current_database())").fetchone()
    assert size is not None
    return Point(
        users,
        round(load_seconds, 2),
        round((after["used_memory"] - before["used_memory"]) / 1e6, 1),
        round(size[0] / 1e6, 1),
        {name: round(median(found), 1) for name, found in cpu.items()},
        {name: round(median(found), 2) for name, found in p50.items()},
    )


def svg(points: list[Point]) -> str:
    """Draw CPU a request against the number of players, which is on a logarithmic scale."""
    most = max(value for point in points for value in point.cpu_us.values()) * 1.1
    first, last = math.log10(points[0].users), math.log10(points[-1].users)

    def at(users: int, value: float) -> tuple[float, float]:
        x = LEFT + (math.log10(users) - first) / max(last - first, 1) * (WIDTH - LEFT - 130)
        return x, HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - 30)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"',
        ' font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
        '<text x="10" y="18" font-weight="bold">CPU a request, all processes, in microseconds</text>',
    ]
    for point in points:
        x, y = at(point.users, 0)
        parts.append(f'<text x="{x:.0f}" y="{y + 20:.0f}" text-anchor="middle">{point.users:,}</text>')
    for share in (0.25, 0.5, 0.75, 1.0):
        _, y = at(points[0].users, most * share)
        parts.append(f'<text x="{LEFT - 10}" y="{y:.0f}" text-anchor="end">{most * share:.0f}</text>')
        parts.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - 120}" stroke="#e2e8f0"/>')
    for name, colour in zip(OPERATIONS, COLOURS, strict=True):
        found = [at(point.users, point.cpu_us[name]) for point in points]
        path = "L".join(f"{x:.0f} {y:.0f}" for x, y in found)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = found[-1]
        parts.append(f'<text x="{x + 8:.0f}" y="{y + 4:.0f}" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])


def table(points: Iterable[Point]) -> str:
    """Return what was found as Markdown."""
    rows = ["players|submit|rank|top|around|load s|index MB|database MB", "---|---|---|---|---|---|---|---"]
    for point in points:
        cells = [f"{point.users:,}", *(f"{point.cpu_us[name]:.0f}" for name in OPERATIONS)]
        cells += [f"{point.load_seconds:.1f}", f"{point.index_mb:.0f}", f"{point.database_mb:.0f}"]
        rows.append("|".join(cells))
    return "\n".join(f"|{row}|" for row in rows)


def growth(points: list[Point]) -> Mapping[str, float]:
    """Return how much more an operation costs at the largest size than at the smallest."""
    return {name: points[-1].cpu_us[name] / points[0].cpu_us[name] for name in OPERATIONS}


@click.command()
@click.argument("sizes", nargs=-1, type=click.IntRange(1000))
@click.option("--seconds", type=click.FloatRange(0.5), default=3.0, help="Of each measurement.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="Medians are reported.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".local/growth"))
def main(sizes: tuple[int, ...], seconds: float, rounds: int, folder: Path) -> None:
    """Measure at SIZES players: 10,000, 100,000 and a million when none are named."""
    points = []
    for users in sorted(sizes or (10_000, 100_000, 1_000_000)):
        place = (folder / f"{users}").absolute()
        place.mkdir(parents=True, exist_ok=True)
        with running_stack(place) as stack:
            began = time.monotonic()
            grow(stack, users)
            console.print(f"{users:,} players made in {time.monotonic() - began:.0f} s")
            points.append(measure(stack, users, seconds=seconds, rounds=rounds))
    (folder / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(points)))
    draw(folder / "growth.svg", svg(points))
    console.print(table(points), markup=False, highlight=False, soft_wrap=True)
    for name, factor in growth(points).items():
        console.print(f"{name}: {factor:.2f} x from {points[0].users:,} to {points[-1].users:,}")


if __name__ == "__main__":
    main()
