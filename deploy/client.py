"""A small HTTP/1.1 client for our own API: JSON over a few kept-alive connections."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import orjson

TIMEOUT = 30.0
"""Seconds an answer may take."""

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """A status, and the body decoded from JSON (None when there is none)."""

    status: int
    body: Any


class Client:
    """Calls one server with one key. Requests past `connections` wait their turn."""

    def __init__(self, url: str, key: str, *, connections: int = 1) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._head = f"host: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        self._turn = asyncio.Semaphore(connections)
        self._idle: list[Wire] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def call(self, method: str, path: str, body: Any = None) -> Answer:
        """Send one request and return its answer.

        Raises:
            OSError: the server cannot be reached, or broke off.
            TimeoutError: the answer did not come in time.
        """
        payload = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\n{self._head}content-length: {len(payload)}\r\n"
        if payload:
            head += "content-type: application/json\r\n"
        request = head.encode() + b"\r\n" + payload
        async with self._turn, asyncio.timeout(TIMEOUT):
            wire = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
            try:
                answer, reusable = await _exchange(wire, request)
            except BaseException:
                wire[1].close()
                raise
        if reusable:
            self._idle.append(wire)
        else:
            wire[1].close()
        return answer


async def _exchange(wire: Wire, request: bytes) -> tuple[Answer, bool]:
    reader, writer = wire
    writer.write(request)
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        _, found, rest = head.partition(b"\r\ncontent-length:")
        body = await reader.readexactly(int(rest.partition(b"\r\n")[0])) if found else b""
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the server broke off") from error
    decoded = orjson.loads(body) if body and b"json" in head else None
    return Answer(status, decoded), b"\r\nconnection: close" not in head


async def serves(port: int, path: str = "/readyz") -> bool:
    """Say whether a service on this machine answers `path` with 200."""
    try:
        async with asyncio.timeout(2), Client(f"http://127.0.0.1:{port}", "") as client:
            return (await client.call("GET", path)).status == 200
    except (OSError, TimeoutError, ValueError, IndexError):
        return False
