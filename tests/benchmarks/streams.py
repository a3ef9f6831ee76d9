"""Ten thousand readers of one stream on one rank_service: memory above idle, time until all know.

`python -m tests.benchmarks.streams [READERS]` prints the figures; every server is started here and
thrown away. The readers are in this process, which shares the machine with the service.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from time import monotonic

import uvloop
from rich.console import Console

from deploy.embedded import free_ports
from shared.events import publish_entries
from shared.index import RankingIndex
from shared.postgres import open_pool
from shared.ranking import Board
from shared.wire import Wire
from tests import servers
from tests.rank import put_board, put_entries
from tests.support import wait_until

console = Console()
STREAM = b"GET /v1/games/demo/leaderboards/global/stream HTTP/1.1\r\nhost: x\r\n\r\n"
AT_ONCE = 200
"""Connections opened before the next ones are."""

CHANGES = 5


class Readers:
    """Open streams, and how many of them have a text."""

    def __init__(self) -> None:
        self.open = 0
        self.text = b""
        self.told = 0

    def expect(self, text: bytes) -> None:
        """Count from now on who receives this text."""
        self.text, self.told = text, 0


class Reader(asyncio.Protocol):
    """One reader."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._first = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        transport.write(STREAM)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Take note of what came."""
        if self._first and b"event: top" in data:
            self._first = False
            self._readers.open += 1
        if self._readers.text and self._readers.text in data:
            self._readers.told += 1


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def measure(database_url: str, redis_url: str, count: int) -> None:
    """Run the service, open the streams, change the top; print what that took."""
    identity: list[str] = []
    pool = open_pool(
        database_url, size=2, timeout=5, name="bench", on_identity=identity.append, statement_timeout_ms=9_000
    )
    async with pool as connections:
        board = await put_board(connections)
        await put_entries(connections, board, [(f"user{n}", n) for n in range(1_000)])
        (port,) = free_ports(1)
        environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RANK_PORT": str(port)}
        service = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "rank_service",
            env={**os.environ, **environ},
            stderr=asyncio.subprocess.DEVNULL,
        )
        wire = Wire(redis_url, timeout=5)
        index = RankingIndex(wire, idle_ms=3_600_000)
        index.database_identity = identity[-1]
        try:
            readers = Readers()
            await connect(readers, port, 1)
            idle = memory(service.pid)
            started = monotonic()
            await connect(readers, port, count)
            console.print(f"{count} readers joined in {monotonic() - started:.1f} s")
            console.print(
                f"rank_service: {idle:.1f} MB idle, {memory(service.pid) - idle:.1f} MB above with {count}"
            )
            for n in range(CHANGES):
                await change(index, connections, board, readers, n)
            console.print(f"and {memory(service.pid) - idle:.1f} MB above after {CHANGES} changes")
        finally:
            service.terminate()
            await service.wait()
            await wire.close()


async def connect(readers: Readers, port: int, count: int) -> None:
    """Open streams until `count` are."""
    loop = asyncio.get_running_loop()

    async def one() -> None:
        await loop.create_connection(lambda: Reader(readers), "127.0.0.1", port)

    async def serving() -> bool:
        try:
            await one()
        except OSError:
            return False
        return True

    if not readers.open:
        await wait_until(serving, timeout=30)
    else:
        for start in range(readers.open, count, AT_ONCE):
            wanted = min(count, start + AT_ONCE)
            await asyncio.gather(*(one() for _ in range(wanted - start)))
            await wait_until(lambda wanted=wanted: readers.open >= wanted, timeout=60)  # type: ignore[misc]
    await wait_until(lambda: readers.open >= count, timeout=60)


async def change(index: RankingIndex, pool: object, board: Board, readers: Readers, n: int) -> None:
    """Put a new user on top, as score_service would; print how long it took until every reader knew."""
    ranking = board.ranking(0)
    readers.expect(f'"user_id":"best{n}"'.encode())
    entries = await put_entries(pool, board, [(f"best{n}", 10_000 + n)])  # type: ignore[arg-type]
    started = monotonic()
    await index.send([index.apply(ranking, entries)], [publish_entries(ranking, [f"best{n}"])])
    await wait_until(lambda: readers.told >= readers.open, timeout=60)
    console.print(f"change {n + 1} reached {readers.told} readers in {monotonic() - started:.2f} s")


def main() -> None:
    """Measure."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + 100:
        sys.exit(f"{count} readers need {count + 100} open files; the limit is {most} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        databases = servers.Databases(stack.enter_context(servers.postgres()), token_hex(4))
        stack.callback(databases.close)
        url = stack.enter_context(databases.fresh())
        uvloop.run(measure(url, stack.enter_context(servers.valkey(0)), count))


if __name__ == "__main__":
    main()
