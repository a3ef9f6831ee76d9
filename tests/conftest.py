"""Fixtures every test may use. Real servers only; nothing is mocked."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from secrets import token_hex
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from shared.postgres import Pool, open_pool
from tests import servers
from tests.stack import Stack, running_stack
from tests.support import emptied, wait_until

_owned = ExitStack()
"""What belongs to the whole run, held by the process that started pytest."""

RUN = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    given: dict[str, str] | None = getattr(config, "workerinput", {}).get("leaderboard")
    config.stash[RUN] = given or {
        "id": token_hex(4),
        "seed": os.environ.get("TEST_SEED") or str(random.randrange(2**32)),
    }


def pytest_report_header(config: pytest.Config) -> str:
    return f"random seed: TEST_SEED={config.stash[RUN]['seed']}"


def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker about the run; the Postgres it shares is started with the first worker."""
    run = node.config.stash[RUN]
    start_postgres(run)
    node.workerinput["leaderboard"] = run


def start_postgres(run: dict[str, str]) -> None:
    if "postgres" not in run:
        run["postgres"] = _owned.enter_context(servers.postgres())
        _owned.callback(servers.drop_template, run["postgres"], run["id"])


def pytest_unconfigure() -> None:
    _owned.close()


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The run's random seed: printed at the start, set with TEST_SEED."""
    return int(pytestconfig.stash[RUN]["seed"])


TURN = 45
"""Seconds before an hour ends in which no test that lives by the hour is begun."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin what lives by the hour (it imports `hour`) when the hour does not end under it."""
    if isinstance(item, pytest.Function) and hasattr(item.module, "hour"):
        asyncio.run(wait_until(lambda: 3600 - time.time() % 3600 > TURN, timeout=TURN + 5))


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that depend on the run's seed and the test's name only."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture(scope="session")
def databases(pytestconfig: pytest.Config) -> Iterator[servers.Databases]:
    run = pytestconfig.stash[RUN]
    start_postgres(run)
    with closing(servers.Databases(run["postgres"], run["id"])) as databases:
        yield databases


@pytest.fixture
def database_url(databases: servers.Databases) -> Iterator[str]:
    """The DSN of a fresh, migrated database."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def empty_database_url(databases: servers.Databases) -> Iterator[str]:
    """The DSN of a fresh database that holds nothing."""
    with databases.fresh(empty=True) as url:
        yield url


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """A pool of connections to a fresh, migrated database, as the services open it."""
    opened = open_pool(
        database_url,
        size=8,
        timeout=5,
        name="tests",
        on_identity=lambda _: None,
        statement_timeout_ms=30_000,
    )
    async with opened as pool:
        yield pool


@pytest.fixture(scope="session")
def valkey(worker_id: str) -> Iterator[str]:
    """The URL of this worker's Valkey, as the last test left it."""
    with servers.valkey(int(worker_id.removeprefix("gw")) if worker_id != "master" else 0) as url:
        yield url


@pytest.fixture
async def redis_url(valkey: str) -> str:
    """The URL of this worker's Valkey, emptied (scripts too)."""
    return await emptied(valkey)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A plain client of this worker's Valkey."""
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole of `leaderboard up`, one for each worker; tests make games of their own in it."""
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
async def api(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the stack's gateway with the admin key."""
    async with stack.client() as client:
        yield client
