"""The connection to Redis: whatever breaks, its callers are told that Redis is unavailable."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from shared.errors import StoreUnavailable
from shared.wire import Wire


async def break_off_and_ask(url: str) -> None:
    wire = Wire(url, timeout=2)
    identity = await wire.connect()
    writer = wire._connection._writer  # type: ignore[union-attr]
    assert writer is not None
    writer.transport.abort()
    await writer.wait_closed()
    try:
        with pytest.raises(StoreUnavailable):
            await wire.round_trip(identity, [("PING",)])
        assert await wire.connect() == identity, "not connected anew"
    finally:
        await wire.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_ended_unnoticed_is_a_store_away(valkey: str, loop: type) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(break_off_and_ask(valkey))
