"""A small HTTP/1.1 client for our own API: JSON over a few kept-alive connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import orjson

TIMEOUT = 30.0
"""Seconds an answer may take."""

SILENCE = 60.0
"""Seconds a stream may be silent; the server sends a comment more often."""

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """A status, and the body decoded from JSON (None when there is none)."""

    status: int
    body: Any


class NotOk(Exception):
    """What was to come line by line was answered otherwise."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the server answered {answer.status}")
        self.answer = answer


class Client:
    """Calls one server with one key. Requests past `connections` wait their turn."""

    def __init__(self, url: str, key: str, *, connections: int = 1) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "127.0.0.1", parts.port or (443 if self._tls else 80))
        self._head = f"host: {parts.netloc}\r\n" + (f"authorization: Bearer {key}\r\n" if key else "")
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
            wire = self._idle.pop() if self._idle else await self._connect()
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

    async def lines(self, path: str, headers: str = "") -> AsyncIterator[bytes]:
        """Yield the lines of an answer as they come, over a connection of its own.

        Raises:
            NotOk: the answer is not a 200.
            OSError: the server cannot be reached, or broke off.
            TimeoutError: nothing came for `SILENCE` seconds.
        """
        reader, writer = await self._connect()
        try:
            writer.write(f"GET {path} HTTP/1.1\r\n{self._head}{headers}\r\n".encode())
            async with asyncio.timeout(TIMEOUT):
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if (status := int(head.split(b" ", 2)[1])) != 200:
                async with asyncio.timeout(TIMEOUT):
                    body = b"".join([piece async for piece in _pieces(reader, head)])
                raise NotOk(Answer(status, orjson.loads(body) if body and b"json" in head else None))
            rest = b""
            async for chunk in _pieces(reader, head):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the server broke off") from error
        finally:
            writer.close()

    async def _connect(self) -> Wire:
        return await asyncio.open_connection(*self._address, ssl=self._tls or None)


async def _pieces(reader: asyncio.StreamReader, head: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it comes; one that was short may come whole, with its length."""
    if b"\r\ntransfer-encoding: chunked" in head:
        async for chunk in _chunks(reader):
            yield chunk
        return
    _, _, rest = head.partition(b"\r\ncontent-length:")
    async with asyncio.timeout(TIMEOUT):
        yield await reader.readexactly(int(rest.partition(b"\r\n")[0] or 0))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(SILENCE):
            size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            chunk = await reader.readexactly(size + 2)
        if not size:
            return
        yield chunk[:-2]


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
    return await answers(f"http://127.0.0.1:{port}", path)


async def answers(url: str, path: str) -> bool:
    """Say whether a server answers `path` with 200."""
    try:
        async with asyncio.timeout(2), Client(url, "") as client:
            return (await client.call("GET", path)).status == 200
    except (OSError, TimeoutError, ValueError, IndexError):
        return False
