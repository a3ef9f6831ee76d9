"""A service as it is deployed, for a test of its own: a process on a free port, a client, a raw socket."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Literal

import httpx

from deploy.embedded import free_ports
from tests.support import NO_TLS, wait_until

Running = tuple[asyncio.subprocess.Process, httpx.AsyncClient]


@asynccontextmanager
async def process(service: Literal["rank", "score"], **settings: str) -> AsyncIterator[Running]:
    """Run a service on a free port; yield it, and a client, once it is ready."""
    (port,) = free_ports(1)
    environ = {**os.environ, f"{service.upper()}_PORT": str(port), **settings}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"{service}_service", env=environ, stderr=asyncio.subprocess.DEVNULL
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS) as client:
        try:
            await wait_until(lambda: is_ready(client), timeout=20)
            yield running, client
        finally:
            if running.returncode is None:
                running.kill()
            await running.wait()


async def ends_a_stream(running: asyncio.subprocess.Process, client: httpx.AsyncClient, path: str) -> None:
    """Open a stream of a board, tell the service to stop, and see both end in time."""
    async with client.stream("GET", path) as stream:
        chunks = stream.aiter_bytes()
        assert (await anext(chunks)).startswith(b"event: top\n")
        running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert [chunk async for chunk in chunks] == []
            await running.wait()


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def exchange(client: httpx.AsyncClient, pieces: Iterable[str], path: str = "") -> list[str]:
    """Send pieces over one connection that the last request closes, to a socket if there is a path."""
    if path:
        reader, writer = await asyncio.open_unix_connection(path)
    else:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    for piece in pieces:
        writer.write(piece.encode())
        await writer.drain()
        await asyncio.sleep(0)
    answers = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answers.split("HTTP/1.1 ")[1:]
