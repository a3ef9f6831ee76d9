"""A million players who have played: history by COPY, boards folded from it by the product itself."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import msgspec
import psycopg
from redis import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shared.names import microseconds, period_of
from shared.queries import load
from tests.stack import Stack

console = Console()
GAME = "/v1/games/bench"
SQL = {name: query.sql for name, query in load(Path(__file__).parent).items()}
PER_SESSION = 10
"""Results in a seeded session."""

BOARDS: dict[str, dict[str, Any]] = {
    "global": {},
    "best": {"operator": "best", "modes": ["three"]},
    "latest": {"operator": "latest", "modes": ["three"]},
}
"""Sessions of mode `three`, as all seeded ones are, count on all; those of mode `one` on `global` alone."""


class Size(NamedTuple):
    """How much there is."""

    users: int
    results: int


def seed(stack: Stack, size: Size) -> None:
    """Fill a stack, unless it was filled before; vacuum what earlier runs left."""
    mark = stack.folder / "seeded.json"
    with psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db:
        if not mark.exists():
            began = time.monotonic()
            with stack_client(stack) as api:
                game_id = make_game(api, db)
            copy(db, game_id, size)
            db.execute("SET work_mem = '256MB'")
            for board in BOARDS:
                console.print(f"folding the history into {board}")
                db.execute(SQL["fold_board"], (board,))
            db.execute(SQL["make"])
            mark.write_bytes(msgspec.json.encode(size._asdict()))
            console.print(
                f"{size.results:,} results of {size.users:,} users in {time.monotonic() - began:.0f} s"
            )
        db.execute("VACUUM ANALYZE")
        db.execute("CHECKPOINT")


def stack_client(stack: Stack) -> httpx.Client:
    """Make a client of the gateway that may do everything."""
    values = stack.values
    key = {"authorization": f"Bearer {values['ADMIN_KEY']}"}
    return httpx.Client(base_url=values["GATEWAY_URL"], headers=key, timeout=600)


def make_game(api: httpx.Client, db: psycopg.Connection[Any]) -> int:
    """Create the game and its boards, which have nothing to be folded from yet; return the game's id."""
    api.put(GAME, json={"title": "Benchmark"}).raise_for_status()
    for board, definition in BOARDS.items():
        api.put(f"{GAME}/leaderboards/{board}", json=definition).raise_for_status()
    row = db.execute("SELECT game_id FROM games WHERE game = 'bench'").fetchone()
    assert row is not None
    return int(row[0])


def copy(db: psycopg.Connection[Any], game_id: int, size: Size) -> None:
    """Write users, sessions and results: ten players a session, everyone as often as everyone else."""
    users = [f"u{i}" for i in range(size.users)]
    # Within this month, so that its partition exists; an hour ago, unless the month is younger.
    now = datetime.now(UTC)
    start = max(now - timedelta(hours=1), now.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    sessions = size.results // PER_SESSION
    ids = list(session_ids(start, sessions))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar, db.transaction(), db.cursor() as cursor:
        task = bar.add_task("COPY rows", total=size.users + sessions + size.results)
        with cursor.copy("COPY users (game_id, user_id) FROM STDIN") as rows:
            for user_id in users:
                rows.write_row((game_id, user_id))
        bar.advance(task, size.users)
        table = "COPY game_sessions (game_id, period, session_id, fingerprint, mode, played_at) FROM STDIN"
        with cursor.copy(table) as rows:
            for session_id, played_at in ids:
                period = period_of(session_id)
                rows.write_row((game_id, period, session_id, session_id.bytes, "three", played_at))
        bar.advance(task, sessions)
        table = "COPY session_results (game_id, period, session_id, user_id, score, played_at) FROM STDIN"
        draw = random.Random(1).randrange
        with cursor.copy(table) as rows:
            for at, (session_id, played_at) in enumerate(ids):
                head = f"{game_id}\t{period_of(session_id)}\t{session_id}\t"
                rows.write(
                    "".join(
                        f"{head}{users[(at * PER_SESSION + k) % size.users]}\t{draw(10_000)}\t{played_at}\n"
                        for k in range(PER_SESSION)
                    )
                )
                if at % 2000 == 1999:
                    bar.advance(task, 2000 * PER_SESSION)


def session_ids(start: datetime, count: int) -> Iterator[tuple[UUID, datetime]]:
    """Yield ids and times of sessions, a few a millisecond, in order."""
    first = microseconds(start) // 1000
    for at in range(count):
        ms = at // 20
        value = (first + ms) << 80 | 7 << 76 | 2 << 62 | at
        yield UUID(int=value), start + timedelta(milliseconds=ms)


def preload(stack: Stack) -> bool:
    """Have Postgres count statements; return whether it must be started anew for that."""
    with psycopg.connect(stack.values["DATABASE_URL"], autocommit=True) as db:
        found = db.execute("SHOW shared_preload_libraries").fetchone()
        if found and "pg_stat_statements" in found[0]:
            db.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            return False
        db.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        return True


def statements(db: psycopg.Connection[Any]) -> int:
    """Return how many statements Postgres has run."""
    row = db.execute("SELECT sum(calls) FROM pg_stat_statements").fetchone()
    return int(row[0] or 0) if row else 0


def busy(db: psycopg.Connection[Any]) -> bool:
    """Say whether Postgres works for anyone else."""
    row = db.execute(SQL["busy"]).fetchone()
    return bool(row and row[0])


def scripts(redis: Redis) -> int:
    """Return how many scripts Redis has run."""
    stats: Any = redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))
