"""A wire to Redis that spoils answers: wrong types, huge lengths, truncated, noise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.proxy import Wire

SPOILT = [
    b"+OK\r\n",
    b"+\r\n",
    b":7\r\n",
    b":-1\r\n",
    b":99999999999999999999999\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"*0\r\n",
    b"%0\r\n",
    b"~0\r\n",
    b"#t\r\n",
    b",inf\r\n",
    b"(12345678901234567890123\r\n",
    b"$3\r\nabc\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n",
    b"*1\r\n*1\r\n*1\r\n$-1\r\n",
    b"-ERR no\r\n",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
    b"-NOSCRIPT No matching script\r\n",
    b"-LOADING loading\r\n",
    b"-OOM command not allowed\r\n",
    b"$999999999999\r\nabc",
    b"$-5\r\n",
    b"*2147483647\r\n",
    b"*-7\r\n",
    b"$4\r\nabcdefgh\r\n",
    b"!4\r\nERR \r\n",
    b">2\r\n$1\r\nx\r\n$1\r\ny\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"\x00\x00\xff\xfe",
    b"",
]


class Liar(Wire):
    """A wire that spoils every so-manieth answer from `rng`; after one, the connection soon ends."""

    def __init__(self, url: str, rng: random.Random) -> None:
        super().__init__(url)
        self._rng = rng
        self.share = 0.0
        """Of the chunks of answers, those that are spoilt."""
        self.lies = 0

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        if not answers:
            await super()._pump(source, sink, answers=False)
            return
        while data := await source.read(65_536):
            if self._rng.random() >= self.share:
                sink.write(data)
                await sink.drain()
                continue
            self.lies += 1
            cut = self._rng.randrange(len(data))
            # A whole answer more or less would shift those behind it, which no client could notice, and
            # no network does: so nothing follows what was spoilt.
            sink.write(self._rng.choice([self._rng.choice(SPOILT), data[:cut], data[:cut] + self._noise()]))
            await sink.drain()
            await asyncio.wait_for(source.read(), 0.05) if self._rng.random() < 0.5 else None
            return

    def _noise(self) -> bytes:
        return self._rng.randbytes(self._rng.randint(1, 40))


@asynccontextmanager
async def liar(url: str, rng: random.Random) -> AsyncIterator[Liar]:
    """Open a wire that may spoil what it carries."""
    opened = Liar(url, rng)
    await opened.heal()
    try:
        yield opened
    finally:
        await opened.cut()
