"""How long a load of the ranking index takes, and what it holds: entries by COPY, then the loader itself.

`python -m tests.benchmarks.loading [ENTRIES]` prints the figures; every server is started here and thrown
away, so they are those of the loader, of Postgres' scan and of Valkey's inserts, all on this machine.
"""

from __future__ import annotations

import random
import sys
from contextlib import ExitStack
from secrets import token_hex
from time import perf_counter, process_time
from typing import Any

import uvloop
from redis.asyncio import Redis
from rich.console import Console

from shared.index import RankingIndex
from shared.loading import Loader
from shared.postgres import Pool, open_pool
from shared.ranking import Board
from shared.wire import Wire
from tests import servers
from tests.rank import put_board

console = Console()
COLUMNS = ("leaderboard_id", "generation", "season", "user_id", "score", "sort_key", "reached_at")


async def seed(pool: Pool, board: Board, count: int) -> None:
    """Write entries straight to Postgres, many of them on few scores as in a real game."""
    rng = random.Random(1)
    scores = (int(rng.paretovariate(1.2) * 1000) for _ in range(count))
    rows = ((board.leaderboard_id, 1, 0, f"user{n}", score, -score, 0) for n, score in enumerate(scores))
    async with pool.acquire() as connection:
        await connection.copy_records_to_table("entries", records=rows, columns=COLUMNS, timeout=600)
        await connection.execute("VACUUM ANALYZE entries", timeout=600)


async def measure(database_url: str, redis_url: str, count: int) -> None:
    """Load one ranking, print what it took."""
    identity: list[str] = []
    opened = open_pool(
        database_url,
        size=4,
        timeout=5,
        name="bench",
        on_identity=identity.append,
        statement_timeout_ms=600_000,
    )
    async with opened as pool, Redis.from_url(redis_url) as redis:
        board = await put_board(pool)
        await seed(pool, board, count)
        wire = Wire(redis_url, timeout=5)
        index = RankingIndex(wire, idle_ms=3_600_000)
        index.database_identity = identity[-1]
        before: dict[str, Any] = await redis.info()
        started, cpu = perf_counter(), process_time()
        await Loader(index, pool).start(board.ranking(0))
        took, cpu = perf_counter() - started, process_time() - cpu
        after: dict[str, Any] = await redis.info()
        held = (after["used_memory"] - before["used_memory"]) / 1e6
        server = sum(after[f"used_cpu_{kind}"] - before[f"used_cpu_{kind}"] for kind in ("user", "sys"))
        total = await redis.zcard(board.ranking(0).keys[1])
        console.print(
            f"{total:,} entries loaded in {took:.2f} s: {cpu:.2f} s of Python, {server:.2f} s of Valkey"
        )
        console.print(f"they hold {held:.0f} MB, {held / count * 1e6:.0f} MB a million")
        await wire.close()


def main() -> None:
    """Measure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with ExitStack() as stack:
        databases = servers.Databases(stack.enter_context(servers.postgres()), token_hex(4))
        stack.callback(databases.close)
        url = stack.enter_context(databases.fresh())
        uvloop.run(measure(url, stack.enter_context(servers.valkey(0)), count))


if __name__ == "__main__":
    main()
