"""A wire that can be cut: a TCP proxy between our code and a real server, for tests of faults."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Wire:
    """A proxy to one server. All of its faults hold for open connections and for new ones.

    `delay` (seconds) is put before every chunk, both ways; `chunk` bounds its bytes (1: a byte at a
    time); `silent` swallows everything, as a peer that is gone without a word (half-open) does;
    `reset_after` breaks a connection off (RST) once it has carried so many bytes of answers.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._ends: set[asyncio.StreamWriter] = set()
        self._hushed: set[asyncio.StreamWriter] = set()
        self.delay = 0.0
        self.chunk = 65_536
        self.silent = False
        self.reset_after: int | None = None

    @property
    def url(self) -> str:
        """The URL that leads through the wire."""
        user, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{user}{at}127.0.0.1:{self._port}"))

    async def heal(self) -> None:
        """Let everything pass; after a cut, take connections again on the same port."""
        self.delay, self.chunk, self.silent, self.reset_after = 0.0, 65_536, False, None
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection off and refuse new ones, until `heal`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def hush(self) -> None:
        """Let the connections there are be dead without a word, for good (half-open); new ones pass."""
        self._hushed = set(self._ends)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(reader, writer)
        finally:
            self._connections.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
            self._ends |= {writer, there}
            ways = [
                asyncio.create_task(self._pump(reader, there, answers=False)),
                asyncio.create_task(self._pump(back, writer, answers=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for end in (writer, there):
                if end is not None:
                    self._ends.discard(end)
                    break_off(end)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        carried = 0
        while data := await source.read(self.chunk):
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.silent or sink in self._hushed:
                continue
            if answers and self.reset_after is not None:
                data = data[: max(0, self.reset_after - carried)]
            for start in range(0, len(data), self.chunk):
                sink.write(data[start : start + self.chunk])
                await sink.drain()
            carried += len(data)
            if answers and self.reset_after is not None and carried >= self.reset_after:
                return


def break_off(writer: asyncio.StreamWriter) -> None:
    """Close with a reset (RST) after what was written; nothing is waited for."""
    with contextlib.suppress(OSError):
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.close()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    """Open a wire to the server of `url`."""
    opened = Wire(url)
    await opened.heal()
    try:
        yield opened
    finally:
        await opened.cut()
