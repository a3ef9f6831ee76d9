"""rank_service scaled under load behind the gateway: real processes come and go, and no read fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from uvicorn.server import ServerState

from gateway.door import Door
from gateway.keys import Keyring
from gateway.peer import Address
from gateway.service import Gateway
from gateway.settings import Settings
from gateway.upstream import Upstream
from shared.keys import SigningKey, write_jwks
from shared.postgres import Pool
from tests.processes import process
from tests.rank import put_board, put_entries
from tests.support import wait_until

BOARD = "/v1/games/demo/leaderboards/global"
READS = (f"{BOARD}/top", f"{BOARD}/users/ada/around", f"{BOARD}/rank?score=7")
READERS = 8


class Load:
    """Readers that ask again as soon as they are answered."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.statuses: Counter[int] = Counter()
        self.is_over = False

    async def read(self) -> None:
        while not self.is_over:
            for path in READS:
                self.statuses[(await self._client.get(path)).status_code] += 1

    async def more(self) -> None:
        """Wait until a few dozen more reads were answered."""
        wanted = self.statuses.total() + 60
        await wait_until(lambda: self.statuses.total() >= wanted, timeout=20)


@asynccontextmanager
async def gateway(folder: Path, rank: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway in this process, so that the test can be its name service."""
    signer = SigningKey.generate()
    write_jwks(folder / "jwks.json", [signer.public])
    key = signer.mint("submit", key_id="test", unlimited=True)
    settings = Settings(jwks_file=str(folder / "jwks.json"), public_games=("demo",), address_rate=0)
    running = Gateway(settings, Keyring(folder / "jwks.json", None), {"rank": rank, "score": rank})
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Door(server_state=state, app_state={"gateway": running}), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
        yield client
    server.close()
    await rank.close()


@pytest.mark.slow
async def test_no_read_fails_while_replicas_go_from_one_to_three_to_one(
    pool: Pool, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await put_entries(pool, await put_board(pool), [(user, len(user)) for user in ("ada", "bob", "cyrus")])
    names: list[Address] = []

    async def lookup() -> list[Address]:
        return [*names]

    rank = Upstream("rank", "http://rank:80", connections=8, waiting=100, streams=10, lookup=lookup)
    stores = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as readers:
        replicas = [await stack.enter_async_context(process("rank", **stores)) for _ in range(3)]
        addresses = [("127.0.0.1", client.base_url.port or 0) for _, client in replicas]
        names[:] = addresses[:1]
        await rank.resolve()
        load = Load(await stack.enter_async_context(gateway(tmp_path, rank)))
        tasks = [readers.create_task(load.read()) for _ in range(READERS)]
        await load.more()
        names[:] = addresses
        await rank.resolve()
        await wait_until(lambda: all(peer.answers > 10 for peer in rank.peers), timeout=20)
        # Two are stopped before their name forgets them: the gateway has to find out by itself.
        for running, _ in replicas[1:]:
            running.terminate()
        await load.more()
        names[:] = addresses[:1]
        await rank.resolve()
        await load.more()
        load.is_over = True
        await asyncio.gather(*tasks)
    assert set(load.statuses) == {200}, load.statuses
