"""Fallback reads from a standby: never behind an answered write, the primary at the first doubt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from secrets import token_hex
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
from psycopg import sql

from deploy.embedded import THROW_AWAY, Postgres, free_ports
from deploy.processes import await_ready
from rank_service.standby import Standby
from shared.postgres import Pool, open_pool
from tests import servers
from tests.proxy import wire
from tests.rank import Rank, put_board, put_entries, rank_service
from tests.support import wait_until

pytestmark = pytest.mark.slow

NO_REDIS = "redis://127.0.0.1:1/0"
REPLICATED = {
    **THROW_AWAY,
    "wal_level": "replica",
    "max_wal_senders": "4",
    "synchronous_commit": "remote_apply",
}
READS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rank_service reads'"


class Pair(NamedTuple):
    """A primary's database, and the same on its standby."""

    primary: str
    standby: str
    server: Postgres
    """The primary itself."""


def run(stack: ExitStack, server: Postgres) -> None:
    process = stack.enter_context(servers.running(server.program()))
    await_ready(process, server.program(), lambda: server.is_ready(process.pid))


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and a standby that streams from it; nothing waits for it yet."""
    with ExitStack() as stack:
        folder = stack.enter_context(servers.scratch_folder())
        ports, password = free_ports(2), token_hex(8)
        primary, standby = (
            Postgres(folder / name, port, password, folder / f"{name}.log", REPLICATED)
            for name, port in zip(("primary", "standby"), ports, strict=True)
        )
        primary.initialise()
        run(stack, primary)
        databases = servers.Databases(primary.url("postgres"), token_hex(4))
        stack.callback(databases.close)
        url = stack.enter_context(databases.fresh())
        servers.copy_of(primary, standby.folder)
        run(stack, standby)
        # Whatever happened: dropping the database is a commit that waits for nobody.
        stack.callback(wait_for, url, "")
        yield Pair(url, standby.url(url.rpartition("/")[2]), primary)


def wait_for(primary: str, names: str) -> None:
    """Tell the primary which standbys its commits wait for."""
    with psycopg.connect(primary, autocommit=True) as connection:
        setting = sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}")
        connection.execute(setting.format(sql.Literal(names)))
        connection.execute("SELECT pg_reload_conf()")


async def rank_of(rank: Rank, user_id: str) -> int:
    answer = await rank.get(f"/leaderboards/global/users/{user_id}")
    assert answer["source"] == "database"
    return int(answer["entry"]["rank"])


async def asked(pair: Pair) -> int:
    """Return how many statements have read entries on the standby."""
    connection = await asyncpg.connect(pair.standby)
    found = await connection.fetchval(f"{READS} AND query LIKE '%ranked%'")
    await connection.close()
    return int(found)


async def test_an_answered_write_is_read_at_once_from_the_standby(pair: Pair) -> None:
    async with (
        opened(pair.primary) as pool,
        rank_service(pair.primary, NO_REDIS, rank_database_url=pair.standby) as rank,
    ):
        board = await put_board(pool)
        await put_entries(pool, board, [("ada", 1), ("bob", 0)])
        assert await rank_of(rank, "ada") == 1
        assert await asked(pair) == 0, "a standby no commit waits for was asked"
        wait_for(pair.primary, "*")

        async def on_standby() -> bool:
            await rank_of(rank, "ada")
            return await asked(pair) > 0

        await wait_until(on_standby, timeout=20)
        for turn in range(1, 30):
            await put_entries(pool, board, [("bob", turn), ("ada", -turn)])
            assert (await rank_of(rank, "bob"), await rank_of(rank, "ada")) == (1, 2)
        wait_for(pair.primary, "")
        await put_entries(pool, board, [("ada", 100)])
        await wait_until(lambda: rank_of_is(rank, "ada", 1), timeout=10)


async def rank_of_is(rank: Rank, user_id: str, expected: int) -> bool:
    return await rank_of(rank, user_id) == expected


async def test_a_postgres_that_failed_over_is_noticed_and_the_index_loaded_anew(
    pair: Pair, redis_url: str
) -> None:
    async with wire(pair.primary) as cable:
        one, other = urlsplit(cable.url), urlsplit(pair.standby)
        both = urlunsplit(one._replace(netloc=f"{one.netloc},127.0.0.1:{other.port}"))
        async with rank_service(both, redis_url) as rank:
            async with opened(pair.primary) as pool:
                board = await put_board(pool)
                await put_entries(pool, board, [("ada", 5), ("bob", 4)])
            await rank.ready()
            async with opened(pair.standby) as pool:
                await wait_until(lambda: pool.fetchval("SELECT count(*) = 2 FROM entries"))
                await pool.fetchval("SELECT pg_promote()")
                await cable.cut()
                # What the new primary records is not in the index that was made of the old one.
                await put_entries(pool, board, [("bob", 9)])
            await wait_until(lambda: led_by(rank, "bob"))
            await rank.ready()
            assert await led_by(rank, "bob")


WRITTEN = "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
APPLIED = "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint"


async def test_the_standby_of_an_old_primary_is_not_asked(pair: Pair) -> None:
    """It applies what the old one goes on writing, so by how far it has come it looks up to date."""
    with ExitStack() as stack:
        folder, (port,) = stack.enter_context(servers.scratch_folder()), free_ports(1)
        server = Postgres(folder / "new", port, pair.server.password, folder / "new.log", REPLICATED)
        servers.copy_of(pair.server, server.folder)
        run(stack, server)
        name = pair.primary.rpartition("/")[2]
        async with (
            opened(pair.primary) as old,
            opened(pair.standby) as standby,
            opened(server.url(name)) as new,
        ):
            await new.fetchval("SELECT pg_promote()")
            for url in (pair.primary, server.url(name)):
                wait_for(url, "*")
            await old.execute("CREATE TABLE filler AS SELECT generate_series(1, 200000)")
            written = await new.fetchval(WRITTEN)
            await wait_until(lambda: standby.fetchval(f"{APPLIED} > $1", written))
            for primary, is_trusted in ((old, True), (new, False)):
                reads = Standby(primary, standby)
                for _ in range(3):
                    await reads.look()
                assert reads.trusted is is_trusted
            wait_for(server.url(name), "")


async def led_by(rank: Rank, user_id: str) -> bool:
    entries = (await rank.get("/leaderboards/global/top"))["entries"]
    return bool(entries[0]["user_id"] == user_id)


def opened(url: str) -> AbstractAsyncContextManager[Pool]:
    return open_pool(
        url, size=2, timeout=5, name="t", on_identity=lambda _: None, statement_timeout_ms=9_000, standby=True
    )
