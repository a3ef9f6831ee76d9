"""Ready or not: what each service needs, what it can do without, that it says when it goes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import httpx

from deploy.embedded import free_ports
from deploy.processes import Program
from shared.postgres import Pool
from tests.proxy import wire
from tests.rank import put_board, rank_service
from tests.servers import running
from tests.support import wait_until

NOWHERE = "redis://127.0.0.1:1/0"


async def test_score_service_is_ready_while_it_reaches_postgres_and_until_it_is_told_to_go(
    database_url: str, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    async with wire(database_url) as cable, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        environ = {"DATABASE_URL": cable.url, "REDIS_URL": NOWHERE, "SCORE_PORT": str(port)}
        environ = {**os.environ, **environ, "LEAVE_SECONDS": "30"}
        command = (sys.executable, "-m", "score_service")

        async def readiness() -> tuple[int, str]:
            try:
                reply = await client.get("/readyz")
            except httpx.TransportError:
                return 0, ""
            body = reply.json()
            return reply.status_code, body.get("status") if reply.is_success else body.get("code", "leaving")

        async def becomes(status: int, word: str) -> None:
            async def is_so() -> bool:
                return await readiness() == (status, word)

            await wait_until(is_so, timeout=20)

        with running(Program("score_service", command, tmp_path / "log", environ=environ)) as process:
            await becomes(200, "ready")
            await cable.cut()
            await becomes(503, "upstream_unavailable")
            assert (await client.get("/healthz")).status_code == 200
            await cable.heal()
            await becomes(200, "ready")
            process.send_signal(signal.SIGTERM)
            await becomes(503, "leaving")
            process.kill()  # how it goes on is test_leaving's


async def test_rank_service_is_ready_without_redis(database_url: str, pool: Pool) -> None:
    await put_board(pool)
    async with rank_service(database_url, NOWHERE) as rank:
        assert (await rank.client.get("/readyz")).status_code == 200
        assert (await rank.get("/leaderboards/global/top"))["source"] == "database"
