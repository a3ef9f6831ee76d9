"""A gateway as a real process, a peer that plays the service behind it, and raw clients in front."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.embedded import free_ports
from shared.frames import ASK
from shared.keys import SigningKey, write_jwks

TOP = "/v1/games/demo/leaderboards/global/top"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
"""Given a request as it arrived, head and body, writes whatever the test is about."""


async def answer_ok(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


class Service:
    """A peer on loopback in a thread of its own: keeps what arrived, answers what it is told to."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1", sock: socket.socket | None = None) -> None:
        self._host = host
        self._socket = sock
        """Where it listens, if not on a port."""
        self.seen: list[bytes] = []
        self.closed = 0
        self.connections = 0
        self.answer: Answer = answer_ok
        self.health = OK
        self._wanted = port
        self.loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Service:
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _run(self) -> None:
        where = {"sock": self._socket} if self._socket else {"host": self._host, "port": self._wanted}
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, **where))
        self.port: int = 0 if self._socket else server.sockets[0].getsockname()[1]
        self._started.set()
        self.loop.run_forever()
        server.close()
        self.loop.run_until_complete(end_all_tasks())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                request = await read_request(reader)
                if b" /healthz " in request[:20]:
                    self.connections -= 1
                    writer.write(self.health)
                    return
                if request == ASK:  # nothing but HTTP here
                    self.connections -= 1
                    writer.write(NOT_FOUND)
                    return
                self.seen.append(request)
                await self._answer_unless_gone(request, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.closed += 1
        finally:
            writer.close()

    async def _answer_unless_gone(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        work = asyncio.ensure_future(self.answer(request, writer))
        while not work.done():
            if reader.at_eof() or reader.exception() is not None:
                work.cancel()
                raise asyncio.IncompleteReadError(b"", None)
            await asyncio.wait([work], timeout=0.005)
        await work


async def end_all_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return head + (await reader.readexactly(int(rest.partition(b"\r\n")[0])) if found else b"")


class Reply(NamedTuple):
    """One answer as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A raw client connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, *, to_head: bool = False) -> Reply | None:
        """Read one answer; None when the connection was closed instead."""
        with suppress(ConnectionError):
            line = self._file.readline()
            while line == b"HTTP/1.1 100 Continue\r\n":
                self._file.readline()
                line = self._file.readline()
            if not line:
                return None
            headers = dict(self._header_lines())
            return Reply(int(line.split()[1]), headers, b"" if to_head else self._body(headers))
        return None

    def _header_lines(self) -> Iterator[tuple[str, str]]:
        while (line := self._file.readline().decode().rstrip("\r\n")) != "":
            name, _, value = line.partition(": ")
            yield name, value

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self._file.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body

    def line(self) -> bytes:
        return self._file.readline()

    def exactly(self, size: int) -> bytes:
        return self._file.read(size)

    def drain(self) -> int:
        """Read until the server closes; return how many bytes there were."""
        total = 0
        with suppress(ConnectionError):
            while data := self._file.read(65_536):
                total += len(data)
        return total

    def is_closed(self) -> bool:
        """Whether the server has closed, after reading what is still there."""
        with suppress(ConnectionError):
            return not self._file.read()
        return True


class Gateway:
    """A running gateway."""

    def __init__(self, port: int, internal_port: int, signer: SigningKey, process: subprocess.Popen[bytes]):
        self.port = port
        self.internal_port = internal_port
        self.process = process
        self.signer = signer
        self.log = Path()
        self.admin = signer.mint("admin", key_id="test-admin", unlimited=True)

    @property
    def internal(self) -> Gateway:
        """Its internal port, to call like the public one."""
        return Gateway(self.internal_port, 0, self.signer, self.process)

    def client(self) -> Client:
        return Client(self.port)

    def request(
        self, method: str, path: str, *, key: str | None = "", body: bytes = b"", headers: str = ""
    ) -> bytes:
        """Write a request; `key` None sends none, empty the admin's."""
        who = "" if key is None else f"authorization: Bearer {key or self.admin}\r\n"
        length = f"content-length: {len(body)}\r\n" if body or method in ("POST", "PUT") else ""
        return f"{method} {path} HTTP/1.1\r\nhost: t\r\n{who}{length}{headers}\r\n".encode() + body

    def call(
        self, method: str, path: str, *, key: str | None = "", body: bytes = b"", headers: str = ""
    ) -> Reply:
        with self.client() as client:
            client.send(self.request(method, path, key=key, body=body, headers=headers))
            reply = client.reply(to_head=method == "HEAD")
            assert reply is not None, "closed without an answer"
            return reply


@contextmanager
def running_gateway(folder: Path, **settings: str) -> Iterator[Gateway]:
    """Run a gateway with these settings (in upper case); both services default to a dead port."""
    signer = SigningKey.generate()
    write_jwks(folder / "jwks.json", [signer.public])
    port, internal, dead = free_ports(3)
    environment = {
        **os.environ,
        "JWKS_FILE": str(folder / "jwks.json"),
        "GATEWAY_PORT": str(port),
        "GATEWAY_INTERNAL_PORT": str(internal),
        "SCORE_URL": f"http://127.0.0.1:{dead}",
        "RANK_URL": f"http://127.0.0.1:{dead}",
        "LEAVE_SECONDS": "0",
        **settings,
    }
    with (folder / "log").open("wb") as log, (folder / "out").open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stderr=log, stdout=out)
    gateway = Gateway(port, internal, signer, process)
    gateway.log = folder / "out"
    try:
        wait_for(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, (folder / "log").read_text()
        yield gateway
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def wait_for(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait until a condition is true; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not true after {timeout:g} s")
        time.sleep(0.01)
