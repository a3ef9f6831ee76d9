"""The real Postgres and Valkey behind the tests: given, in containers, or embedded.

One Postgres cluster serves a whole run, owned by the process that started pytest, since a worker may
end before the others. Every test gets a fresh database, cloned from a migrated template.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from deploy.embedded import THROW_AWAY, Postgres, Valkey, free_ports, postgres_binary
from deploy.processes import Program, alive, await_ready, spawn, stop
from score_service.migrations import migrate

TEMPLATE_LOCK = 4_711
ROOM_NEEDED = 2 * 1024**3
"""Bytes free in shared memory from which on a cluster is kept there."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder, in memory where there is room, and remove it at the end."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > ROOM_NEEDED
    parent = memory if roomy else Path(tempfile.gettempdir())
    for left in parent.glob("leaderboard-tests-*-*"):  # by a run that was killed
        if not alive(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"leaderboard-tests-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running(program: Program) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program while the block lasts."""
    process = spawn(program)
    try:
        yield process
    finally:
        stop(process, program)


@contextmanager
def embedded_postgres() -> Iterator[str]:
    """Run a throw-away cluster; yield the DSN of its superuser."""
    with scratch_folder() as folder:
        (port,) = free_ports(1)
        server = Postgres(folder / "postgres", port, token_hex(8), folder / "postgres.log", THROW_AWAY)
        server.initialise()
        with running(server.program()) as process:
            await_ready(process, server.program(), lambda: server.is_ready(process.pid))
            yield server.url("postgres")


def copy_of(primary: Postgres, folder: Path) -> None:
    """Make the files of a standby, as the user the primary runs as."""
    command = primary.program().command
    before = command[: command.index(str(postgres_binary("postgres")))]
    options = ("-d", primary.url("postgres"), "-D", str(folder), "-R", "-X", "stream", "-c", "fast")
    copy = [*before, str(postgres_binary("pg_basebackup")), *options]
    subprocess.run(copy, check=True, timeout=60, cwd="/")


@contextmanager
def embedded_valkey() -> Iterator[str]:
    """Run a Valkey that keeps nothing; yield its URL."""
    with scratch_folder() as folder:
        (port,) = free_ports(1)
        server = Valkey(folder, port, token_hex(8), folder / "valkey.log")
        with running(server.program()) as process:
            await_ready(process, server.program(), server.is_ready)
            yield server.url()


@contextmanager
def contained_postgres() -> Iterator[str]:
    """Run Postgres in a container."""
    from testcontainers.community.postgres import PostgresContainer

    command = [
        "postgres",
        *(part for name, value in THROW_AWAY.items() for part in ("-c", f"{name}={value}")),
    ]
    with PostgresContainer("postgres:18", driver=None).with_command(command) as container:
        yield container.get_connection_url()


@contextmanager
def contained_valkey() -> Iterator[str]:
    """Run Valkey in a container."""
    from testcontainers.community.redis import RedisContainer

    with RedisContainer("valkey/valkey:9") as container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(6379)
        yield f"redis://{host}:{port}/0"


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the DSN of a superuser: TEST_DATABASE_URL, a container (TEST_CONTAINERS=1), or embedded."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with contained_postgres() if os.environ.get("TEST_CONTAINERS") == "1" else embedded_postgres() as url:
        yield url


@contextmanager
def valkey(worker: int) -> Iterator[str]:
    """Yield a server of this worker's own, or a database of its own of TEST_REDIS_URL's."""
    if given := os.environ.get("TEST_REDIS_URL"):
        yield with_path(given, str(worker))
        return
    with contained_valkey() if os.environ.get("TEST_CONTAINERS") == "1" else embedded_valkey() as url:
        yield url


class Databases:
    """Fresh databases, each a copy of a template that was migrated once for the whole run."""

    def __init__(self, url: str, run: str) -> None:
        self._url = url
        self._admin = psycopg.connect(url, autocommit=True)
        self._template = f"template_{run}"
        self._make_template()

    def _make_template(self) -> None:
        with self._admin.transaction():
            self._admin.execute("SELECT pg_advisory_xact_lock(%s)", (TEMPLATE_LOCK,))
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if self._admin.execute(known, (self._template,)).fetchone() is None:
                with psycopg.connect(self._url, autocommit=True) as other:
                    making = f"{self._template}_making"
                    other.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
                    migrate(self.url(making))
                    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
                    other.execute(rename.format(sql.Identifier(making), sql.Identifier(self._template)))

    def url(self, database: str) -> str:
        """Return the DSN of one database."""
        return with_path(self._url, database)

    @contextmanager
    def fresh(self, *, empty: bool = False) -> Iterator[str]:
        """Make a database (`empty`: without our tables), yield its DSN, drop it."""
        name = f"test_{token_hex(6)}"
        template = "template0" if empty else self._template
        # Copying files is three times as quick as writing the copy through the log.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield self.url(name)
        finally:
            self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Close the connection databases are made over."""
        self._admin.close()


def drop_template(url: str, run: str) -> None:
    """Drop a run's template, for a server that outlives the run."""
    with psycopg.connect(url, autocommit=True) as admin:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        admin.execute(drop.format(sql.Identifier(f"template_{run}")))


def with_path(url: str, path: str) -> str:
    """Return `url` naming another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))
