"""A receiver of webhooks: a real HTTP server that keeps what it was sent and answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple


class Heard(NamedTuple):
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Receiver:
    """Answers with the next of `answers` (raw bytes, or a status; None: never), 204 when none is left."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.heard: list[Heard] = []
        self.answers: list[int | bytes | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?of=chess"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.split("\r\n")[:-2]
            headers = dict(field.split(": ", 1) for field in fields)
            body = await reader.readexactly(int(headers["content-length"]))
            self.heard.append(Heard(line, headers, body))
            answer = self.answers.pop(0) if self.answers else 204
            if answer is None:
                await reader.read()
            elif isinstance(answer, int):
                writer.write(f"HTTP/1.1 {answer} So\r\nlocation: {self.url}\r\n\r\n".encode())
            else:
                writer.write(answer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # a caller that does not like what it sees goes
        finally:
            writer.close()


@asynccontextmanager
async def receiver(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver while the block lasts."""
    found = Receiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found
        server.close()
