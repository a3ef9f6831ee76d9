"""Writes that are made together leave in order, at the end of the turn or when someone needs them gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.outbox import Outbox


@pytest.fixture
async def pair() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """A transport and the socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    yield transport, theirs
    transport.abort()
    theirs.close()
    await asyncio.sleep(0)


def received(end: socket.socket) -> bytes:
    try:
        return end.recv(1000)
    except BlockingIOError:
        return b""


async def test_writes_leave_at_the_end_of_the_turn(pair: tuple[asyncio.Transport, socket.socket]) -> None:
    outbox = Outbox()
    outbox.put(pair[0], b"a")
    outbox.put(pair[0], b"b")
    assert received(pair[1]) == b""
    assert outbox.turn == 0
    await asyncio.sleep(0)
    assert received(pair[1]) == b"ab"
    assert outbox.turn == 1


async def test_or_when_they_must(pair: tuple[asyncio.Transport, socket.socket]) -> None:
    outbox = Outbox()
    outbox.put(pair[0], b"a")
    outbox.flush()
    assert received(pair[1]) == b"a"
    await asyncio.sleep(0)
    assert received(pair[1]) == b""


async def test_what_is_for_a_connection_that_ended_is_dropped(
    pair: tuple[asyncio.Transport, socket.socket],
) -> None:
    outbox = Outbox()
    outbox.put(pair[0], b"a")
    pair[0].abort()
    await asyncio.sleep(0)
    assert received(pair[1]) == b""
