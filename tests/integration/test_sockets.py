"""Everything over Unix sockets: the services, the gateway before them, Valkey and Postgres behind them."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psycopg
import pytest
import uvloop
from click.testing import CliRunner
from redis.exceptions import ConnectionError as RedisConnectionError

from deploy.cli import main
from deploy.embedded import Postgres, Valkey, free_ports
from deploy.files import load_secrets
from deploy.local import sockets_in
from gateway.upstream import Upstream
from shared.errors import StoreUnavailable
from shared.postgres import Pool, open_pool
from shared.sentinel import client as redis_client
from shared.sockets import Listener
from shared.wire import Wire
from tests.doors import Service, running_gateway
from tests.integration.test_gateway_balance import burst
from tests.processes import ends_a_stream, exchange, process
from tests.rank import put_board, put_entries
from tests.stack import Stack, running_stack
from tests.support import wait_until

TOP = "/v1/games/demo/leaderboards/global/top"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def at(path: Path) -> httpx.AsyncClient:
    """Make a client of whoever serves on a socket."""
    return httpx.AsyncClient(base_url="http://x", transport=httpx.AsyncHTTPTransport(uds=str(path)))


async def test_a_socket_is_served_as_the_port_is_and_removed_at_the_end(
    folder: Path, pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5), ("bob", 3)])
    path = folder / "rank.sock"
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RANK_SOCKET": str(path)}
    users = TOP.replace("top", "users")
    paths = [f"{users}/ada", TOP, f"{users}/%61da", "/healthz", f"{users}/cleo"]  # the short way and the long
    requests = "".join(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n" for path in paths)
    last = f"GET {users}/bob HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    async with process("rank", **settings, LEAVE_SECONDS="0") as (running, client):
        over = [await exchange(client, [requests + last], at) for at in ("", str(path))]
        assert [[answer[:3] for answer in each] for each in over] == [["200"] * 4 + ["404", "200"]] * 2
        async with at(path) as near:
            await ends_a_stream(running, near, TOP.replace("top", "stream"))
        assert not path.exists()


async def test_a_gateway_finds_a_killed_service_again_behind_its_socket(
    folder: Path, pool: Pool, database_url: str, redis_url: str
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5)])
    path = folder / "rank.sock"
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RANK_SOCKET": str(path)}
    with running_gateway(folder, RANK_URL=f"unix:{path}", PUBLIC_GAMES="demo") as gateway:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as client:

            async def status() -> int:
                return (await client.get(TOP)).status_code

            async def well() -> bool:
                return await status() == 200

            assert await status() == 503
            async with process("rank", **settings) as (running, _):
                await wait_until(well, timeout=5)
                running.send_signal(signal.SIGKILL)
                await running.wait()
            assert path.exists()
            assert await status() == 503
            async with process("rank", **settings):
                await wait_until(well, timeout=5)


async def test_a_socket_in_use_is_an_error_that_names_it(
    folder: Path, database_url: str, redis_url: str
) -> None:
    path = folder / "score.sock"
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SCORE_SOCKET": str(path)}
    async with process("score", **settings):
        (port,) = free_ports(1)
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "score_service"),
            env={**os.environ, **settings, "SCORE_PORT": str(port)},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20):
                _, said = await second.communicate()
        finally:
            if second.returncode is None:
                second.kill()
        assert second.returncode == 3
        assert re.search(f"cannot serve on the socket {path}: .*another process listens here", said.decode())
        async with at(path) as near:
            assert (await near.get("/healthz")).status_code == 200


def test_a_full_backlog_is_waited_for(folder: Path) -> None:
    """As TCP's is; uvloop's, since asyncio's own loop takes such a connection for made."""
    path = str(folder / "rank.sock")

    async def ask() -> list[int]:
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as waiting:
            listening.bind(path)
            listening.listen(0)
            waiting.connect(path)
            upstream = Upstream("rank", f"unix:{path}", connections=8, waiting=100, streams=10)
            await upstream.resolve()
            asked = asyncio.ensure_future(burst(upstream, 3))
            await wait_until(lambda: upstream.peers[0].connecting == 3)
            with Service(sock=listening):
                statuses = await asked
                assert not upstream.peers[0].ejected
                await upstream.close()
            return statuses

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == [200, 200, 200]


# --- the stores, on the sockets of a local stack


class Stores:
    """A local stack's Postgres and Valkey, by their sockets."""

    def __init__(self, stack: Stack) -> None:
        secrets, sockets = load_secrets(stack.folder / "secrets.json"), stack.folder / "sockets"
        port = psycopg.conninfo.conninfo_to_dict(stack.values["DATABASE_URL"])["port"]
        self.postgres = Postgres(
            stack.folder, int(str(port)), secrets.postgres, stack.folder, sockets=sockets
        )
        self.valkey = Valkey(stack.folder, 0, secrets.redis, stack.folder, sockets=sockets)
        self.dsn = self.postgres.url("leaderboard", here=True)
        self.url = self.valkey.url(here=True)


@pytest.fixture
def stores(stack: Stack) -> Stores:
    return Stores(stack)


async def test_valkey_is_the_same_server_over_its_socket(stores: Stores, stack: Stack) -> None:
    wires = [Wire(url, timeout=2) for url in (stores.url, stack.values["REDIS_URL"])]
    try:
        near, far = [await wire.connect() for wire in wires]
        assert near == far
        assert await wires[0].send([("PING",)]) == [b"PONG"]
    finally:
        for wire in wires:
            await wire.close()
    async with redis_client(stores.url, timeout=2) as redis, redis.pubsub() as channel:
        await channel.subscribe("socket")
        await redis.publish("socket", "heard")
        await wait_until(lambda: heard(channel))


async def heard(channel: object) -> bool:
    message = await channel.get_message(ignore_subscribe_messages=True)  # type: ignore[attr-defined]
    return message is not None and message["data"] == b"heard"


async def test_gateways_share_limits_over_it(folder: Path, stores: Stores) -> None:
    with running_gateway(folder, LIMITS_REDIS_URL=stores.url, KEY_BURST="1", KEY_RATE="0.01") as gateway:
        key = gateway.signer.mint("read", key_id=folder.name)
        assert [gateway.call("GET", TOP, key=key).status for _ in range(2)] == [503, 429]
        async with redis_client(stores.url, timeout=2) as redis:
            assert await redis.keys(f"leaderboard:limit:*{folder.name}*")


async def test_a_pool_over_postgres_socket_knows_its_server(stores: Stores, stack: Stack) -> None:
    seen: list[str] = []
    nowhere = stores.dsn.replace("?host=", "?host=/nowhere,").replace("&port=", "&port=1,")
    for dsn in (stores.dsn, nowhere, stack.values["DATABASE_URL"]):
        opened = open_pool(
            dsn, size=2, timeout=2, name="tests", on_identity=seen.append, statement_timeout_ms=1000
        )
        async with opened as pool:
            assert await pool.fetchval("SELECT inet_client_addr() IS NULL") == (
                dsn != stack.values["DATABASE_URL"]
            )
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_backup_migrate_and_doctor_work_over_sockets(stores: Stores, folder: Path, stack: Stack) -> None:
    def run(*words: str) -> str:
        environ = {"DATABASE_URL": stores.dsn, "REDIS_URL": stores.url, "LOCAL_DATA_DIR": str(stack.folder)}
        result = CliRunner(env=environ).invoke(main, [*words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "games" in run("backup", str(folder / "b.dump"))
    with psycopg.connect(stores.dsn, autocommit=True) as admin:
        admin.execute("CREATE DATABASE restored")
    try:
        dsn = stores.postgres.url("restored", here=True)
        assert "restored and proved" in run("restore", str(folder / "b.dump"), "--database-url", dsn)
        assert "newest schema" in run("migrate", "--database-url", dsn)
    finally:
        with psycopg.connect(stores.dsn, autocommit=True) as admin:
            admin.execute("DROP DATABASE restored")
    assert '"wrong"' not in run("doctor", "--json")


async def test_a_socket_asks_for_the_password_too(stores: Stores) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(stores.postgres.url("leaderboard", password="wrong", here=True))
    wrong = Wire(stores.url.replace("default:", "default:x"), timeout=2)
    with pytest.raises(StoreUnavailable, match="invalid username-password pair"):
        await wrong.connect()
    await wrong.close()
    async with redis_client(f"unix://{stores.valkey.socket}", timeout=2) as redis:
        with pytest.raises(RedisConnectionError, match="authenticated"):
            await redis.ping()


# --- the local stack


def environment(pid: int) -> dict[str, str]:
    parts = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(part.split("=", 1) for part in parts if "=" in part)


def test_a_local_stack_speaks_over_sockets_nobody_else_may_enter(stack: Stack) -> None:
    sockets = stack.folder / "sockets"
    assert sockets.stat().st_mode & 0o777 == 0o700
    score, rank, gateway = (environment(stack.pid(name)) for name in ("SCORE", "RANK", "GATEWAY"))
    for service in (score, rank):
        assert f"/leaderboard?host={sockets}&port=" in service["DATABASE_URL"]
        assert service["REDIS_URL"].endswith(f"@{sockets}/valkey.sock?db=0")
    assert gateway["SCORE_URL"] == f"unix:{score['SCORE_SOCKET']}" == f"unix:{sockets}/score.sock"
    assert gateway["RANK_URL"] == f"unix:{rank['RANK_SOCKET']}" == f"unix:{sockets}/rank.sock"


async def test_its_ports_answer_all_the_same(stack: Stack) -> None:
    for port in (stack.score_port, stack.rank_port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/readyz")).status_code == 200
    with psycopg.connect(stack.values["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT inet_client_addr()::text").fetchone() == ("127.0.0.1/32",)
    async with redis_client(stack.values["REDIS_URL"], timeout=2) as redis:
        assert await redis.ping()


def test_sockets_of_a_run_that_was_killed_are_gone(folder: Path) -> None:
    sockets = sockets_in(folder)
    assert sockets is not None
    Listener(str(sockets / ".s.PGSQL.1"), 1).socket.close()
    assert sockets_in(folder) == sockets
    assert [*sockets.iterdir()] == []


async def test_where_names_are_too_long_for_sockets_all_goes_over_tcp(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    with running_stack(folder) as stack:
        async with stack.client() as api:
            assert (await api.get(TOP)).status_code == 200
        assert environment(stack.pid("GATEWAY"))["RANK_URL"] == f"http://127.0.0.1:{stack.rank_port}"
        assert environment(stack.pid("SCORE"))["DATABASE_URL"].startswith("postgresql://score_service:")
    assert f"{folder}: no name for sockets, so all speak over TCP" in (folder / "logs" / "up.log").read_text()
