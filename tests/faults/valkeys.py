"""Valkey servers that tests may restart, corrupt, demote and fail over."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.embedded import free_ports, valkey_binary
from deploy.processes import Program, spawn, stop
from tests.support import wait_until

PASSWORD = "secret"


class Server:
    """One server on a port of its own; its data stay in its folder when it is started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (self.port,) = free_ports(1)
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://default:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        """Make a client."""
        return Redis.from_url(self.url)

    def start(self, *more: str) -> None:
        """Start it; `more` options hold this once."""
        command = (str(valkey_binary()), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "")
        secrets = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--dir", str(self.folder))
        program = Program(
            "valkey", (*command, *secrets, *self.options, *more), self.folder / "valkey.log", grace=5
        )
        self.process = spawn(program)

    def kill(self) -> None:
        """Kill it with -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def answers(self) -> bool:
        """Say whether it takes commands: it is there, and has read its data."""
        try:
            async with self.client() as client:
                return bool(await client.get("nothing") is None)
        except RedisError:
            return False

    async def started(self, *more: str) -> None:
        """Start it and wait until it takes commands."""
        self.start(*more)
        await wait_until(self.answers, timeout=20)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Run a server while the block lasts."""
    await server.started()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def sentinels(folder: Path, master: Server, count: int = 3) -> Iterator[str]:
    """Run Sentinels that watch a master; yield the URL that asks them for it."""
    ports = free_ports(count)
    running = []
    try:
        for port in ports:
            config = folder / f"sentinel-{port}.conf"
            config.write_text(
                f"bind 127.0.0.1\nport {port}\ndir {folder}\n"
                f"sentinel monitor ours 127.0.0.1 {master.port} {count // 2 + 1}\n"
                f"sentinel auth-pass ours {PASSWORD}\n"
                "sentinel down-after-milliseconds ours 1000\nsentinel failover-timeout ours 5000\n"
            )
            command = (str(valkey_binary()), str(config), "--sentinel")
            program = Program("sentinel", command, folder / f"sentinel-{port}.log", grace=3)
            running.append((spawn(program), program))
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        yield f"redis+sentinel://default:{PASSWORD}@{hosts}/ours"
    finally:
        for process, program in running:
            stop(process, program)
