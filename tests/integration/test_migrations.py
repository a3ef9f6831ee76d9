"""The migrations: where they arrive, what they leave alone, who may run them at once."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from deploy.schema import SCHEMA, dump
from score_service.migrations import MIGRATOR, migrate
from shared.postgres import Pool
from tests.support import wait_until


def test_migrations_arrive_at_the_schema_on_record(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        if connection.info.server_version < 180_000:
            pytest.skip("the record is as Postgres 18 tells it")
    assert dump(database_url) == SCHEMA.read_text(), "run `make schema` and look at the difference"


def test_the_schema_tells_a_column_more(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN shoe_size integer")
    assert dump(database_url) != SCHEMA.read_text()


def test_migrating_again_changes_nothing(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO games (game) VALUES ('kept')")
    migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT game FROM games").fetchall() == [("kept",)]


async def test_three_migrators_at_once_all_succeed(empty_database_url: str) -> None:
    await asyncio.gather(*(migrate_beside(empty_database_url) for _ in range(3)))
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


async def migrate_beside(database_url: str) -> None:
    """Migrate in a process of its own: Alembic keeps its state in globals of the module."""
    code = "import sys; from score_service.migrations import migrate; migrate(sys.argv[1])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, database_url)
    assert await process.wait() == 0


async def test_a_migrator_waits_for_the_one_before(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", (MIGRATOR,))
        second = asyncio.create_task(asyncio.to_thread(migrate, empty_database_url))
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await wait_until(lambda: first.execute(waiting).fetchone())
        assert not second.done()
    await second


def test_a_failed_migration_leaves_nothing_behind(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE outbox ()")
    with pytest.raises(Exception, match="outbox"):
        migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT relname FROM pg_class WHERE relname = 'games'").fetchall()
    assert tables == []


async def test_there_is_a_partition_for_a_day_ahead_and_for_the_distant_past(pool: Pool) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    for period in (date(1970, 1, 1), tomorrow.replace(day=1)):
        await pool.execute(
            "INSERT INTO game_sessions VALUES (1, $1, gen_random_uuid(), '', NULL, now())", period
        )


async def test_periods_are_made_once(pool: Pool) -> None:
    assert await pool.fetchval("SELECT make_periods(3)") == 0
    assert await pool.fetchval("SELECT make_periods(5)") == 4
    assert await pool.fetchval("SELECT make_periods(5)") == 0


async def test_no_service_owns_or_truncates_the_history(pool: Pool) -> None:
    may = "SELECT has_table_privilege($1, $2, $3)"
    for role in ("leaderboard_score", "leaderboard_rank"):
        for right in ("DELETE", "TRUNCATE", "TRIGGER"):
            assert not await pool.fetchval(may, role, "session_results", right)
    assert not await pool.fetchval(may, "leaderboard_rank", "entries", "UPDATE")
