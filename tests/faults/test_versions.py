"""An older version beside today's: migrated under its feet, served with, replaced, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import psycopg
import pytest

from score_service.migrations import migrate
from tests.faults.fleet import Fleet, running
from tests.faults.older import before_newest_migration, migrate_by, says_it_leaves
from tests.faults.test_deploys import more, undisturbed


def revision(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_migration_and_an_upgrade_go_by_unnoticed(
    tmp_path: Path, empty_database_url: str, redis_url: str, rng: random.Random
) -> None:
    old = before_newest_migration(tmp_path / "old")
    migrate_by(old, empty_database_url)
    before = revision(empty_database_url)
    fleet = Fleet(tmp_path, empty_database_url, redis_url, old)
    async with (
        running(*fleet.replicas),
        fleet.client() as api,
        # Where the older services just close, a write may cross that on its way; it is sent again.
        undisturbed(api, rng, fleet.values, streams=False, strict=says_it_leaves(old)) as crowd,
    ):
        await asyncio.to_thread(migrate, empty_database_url)
        assert revision(empty_database_url) > before
        await more(crowd)
        for replica in [*fleet.score, *fleet.rank]:
            await replica.end()
            replica.upgrade()
            await replica.start()
            await more(crowd)
