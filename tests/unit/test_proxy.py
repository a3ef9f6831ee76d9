"""The wire that can be cut does what its tests of others rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.proxy import Wire, break_off, wire
from tests.support import wait_until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def cable() -> AsyncIterator[Wire]:
    """A wire to a server that answers what it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, wire(f"redis://:secret@127.0.0.1:{port}/0") as cable:
        yield cable


@pytest.fixture
async def ends(cable: Wire) -> AsyncIterator[Ends]:
    """A connection through the wire."""
    ends = await connect(cable)
    yield ends
    break_off(ends[1])


async def connect(cable: Wire) -> Ends:
    address = cable.url.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    return await asyncio.open_connection(host, int(port))


async def said(ends: Ends, data: bytes, timeout: float = 2) -> bytes:
    """Return what comes back."""
    ends[1].write(data)
    async with asyncio.timeout(timeout):
        return await ends[0].readexactly(len(data))


async def test_the_url_keeps_all_but_the_port(cable: Wire) -> None:
    assert cable.url.startswith("redis://:secret@127.0.0.1:")
    assert cable.url.endswith("/0")


async def test_bytes_pass(ends: Ends) -> None:
    assert await said(ends, b"hello" * 50) == b"hello" * 50


async def test_a_cut_breaks_connections_off_and_refuses_new_ones(cable: Wire, ends: Ends) -> None:
    await said(ends, b"open")
    await cable.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await said(ends, b"hello")
    with pytest.raises(ConnectionError):
        await connect(cable)


async def test_a_healed_wire_has_its_old_port(cable: Wire) -> None:
    url = cable.url
    await cable.cut()
    await cable.heal()
    assert cable.url == url
    ends = await connect(cable)
    assert await said(ends, b"hello") == b"hello"
    break_off(ends[1])


async def test_a_silent_wire_loses_what_is_sent(cable: Wire, ends: Ends) -> None:
    cable.silent = True
    with pytest.raises(TimeoutError):
        await said(ends, b"lost", timeout=0.1)
    await cable.heal()
    assert await said(ends, b"found") == b"found"


async def test_a_hushed_connection_stays_dead_and_new_ones_pass(cable: Wire, ends: Ends) -> None:
    await said(ends, b"open")
    cable.hush()
    await cable.heal()
    with pytest.raises(TimeoutError):
        await said(ends, b"lost", timeout=0.1)
    other = await connect(cable)
    assert await said(other, b"found") == b"found"
    break_off(other[1])


async def test_an_answer_is_broken_off_in_the_middle(cable: Wire, ends: Ends) -> None:
    cable.reset_after = 3
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)) as broken:
        await said(ends, b"hello")
    assert getattr(broken.value, "partial", b"hel") == b"hel"


async def test_answers_come_late(cable: Wire, ends: Ends) -> None:
    cable.delay = 0.05
    before = asyncio.get_running_loop().time()
    assert await said(ends, b"hello") == b"hello"
    assert asyncio.get_running_loop().time() - before >= 0.1


async def test_answers_come_a_byte_at_a_time(cable: Wire, ends: Ends) -> None:
    cable.chunk, cable.delay = 1, 0.02
    ends[1].write(b"hello")
    assert await wait_until(lambda: ends[0].read(100)) == b"h"
