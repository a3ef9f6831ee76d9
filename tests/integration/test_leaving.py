"""A process that is to stop: callers learn of it while it still serves, so that no request is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.peer import Address, Peer
from gateway.upstream import Upstream
from gateway.wire import Wire
from shared.postgres import Pool
from tests.doors import OK, Service
from tests.integration.test_gateway_balance import Ask, address, burst
from tests.integration.test_gateway_scaling import gateway
from tests.integration.test_rank_process import TOP
from tests.processes import process
from tests.rank import put_board, put_entries
from tests.support import wait_until

LEAVING = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
SESSIONS = "/v1/games/demo/sessions"


class Names(Upstream):
    """A service whose addresses a test decides on; it can be told to lose the next connection it lends."""

    def __init__(self, patience: float = 5.0) -> None:
        super().__init__("x", "http://x", connections=8, waiting=9, streams=9, patience=patience)
        self.found: list[Address] = []
        self.loses = False
        self._lookup = self._found

    async def _found(self) -> list[Address]:
        return [*self.found]

    async def lead_to(self, *services: Service) -> None:
        """Resolve to these from now on."""
        self.found = [address(service) for service in services]
        await self.resolve()

    def take(self, avoid: Peer | None = None) -> Wire | None:
        wire = super().take(avoid)
        if wire is not None and self.loses:
            self.loses = False
            wire.transport.abort()
        return wire


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    upstream = Names()
    yield upstream
    await upstream.close()


async def test_a_process_about_to_go_is_sent_nothing_more(names: Names) -> None:
    with Service() as staying, Service() as going:
        await names.lead_to(staying, going)
        await burst(names, 8)
        assert going.seen
        going.health = LEAVING
        await names.probe()
        going.seen.clear()
        assert set(await burst(names, 8)) == {200}
        assert going.seen == []
        await wait_until(lambda: not names.peers[1].wires)
        going.health = OK
        await names.probe()

        async def is_used() -> bool:
            await burst(names, 8)
            return bool(going.seen)

        await wait_until(is_used)


async def test_requests_wait_for_the_successor_of_the_last_process(names: Names) -> None:
    with Service() as old, Service() as new:
        await names.lead_to(old)
        old.health = LEAVING
        await names.probe()
        fates = [Ask(names).start() for _ in range(5)]
        names.found = [address(new)]
        await names.probe()
        assert set(await asyncio.gather(*fates)) == {200}
        assert old.seen == []


async def test_but_not_for_long() -> None:
    names = Names(patience=0.01)
    with Service() as old:
        await names.lead_to(old)
        old.health = LEAVING
        await names.probe()
        fate = Ask(names).start()

        async def is_over() -> bool:
            await names.probe()
            return fate.done()

        await wait_until(is_over)
        assert await fate == 503
        assert await Ask(names).start() == 503
    await names.close()


async def test_a_write_that_was_not_sent_goes_another_way(names: Names, tmp_path: Path) -> None:
    with Service() as service:
        await names.lead_to(service)
        async with gateway(tmp_path, names) as client:
            assert (await client.get(TOP)).status_code == 200
            names.loses = True
            assert (await client.post(SESSIONS, json={})).status_code == 200
            assert not names.loses
        assert [seen.startswith(b"POST") for seen in service.seen] == [False, True]


async def test_whether_a_request_was_sent_is_known(names: Names) -> None:
    with Service() as service:
        await names.lead_to(service)
        await Ask(names).start()
        names.loses = True
        unsent = Ask(names)
        assert await unsent.start() == 502
        assert unsent.wire is not None
        assert unsent.wire.is_unsent

        async def breaks_off(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        service.answer = breaks_off
        sent = Ask(names)
        assert await sent.start() == 502
        assert sent.wire is not None
        assert not sent.wire.is_unsent


async def test_a_stopping_service_says_so_and_serves_until_nobody_is_connected(
    pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5)])
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LEAVE_SECONDS": "30"}
    async with process("rank", **stores) as (running, client):
        assert "connection" not in (await client.get(TOP)).headers
        running.send_signal(signal.SIGTERM)

        async def is_leaving() -> bool:
            return (await client.get("/healthz")).status_code == 503

        await wait_until(is_leaving)
        assert (await client.get("/readyz")).json() == {"status": "leaving"}
        for path in (TOP, TOP.replace("top", "seasons")):
            reply = await client.get(path)
            assert (reply.status_code, reply.headers["connection"]) == (200, "close")
        async with asyncio.timeout(5):
            await running.wait()
