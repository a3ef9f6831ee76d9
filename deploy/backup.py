"""Backups of the truth: dumped with what it must hold, restored, and proved to hold it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from deploy.database import LOGINS
from deploy.embedded import postgres_binary
from deploy.processes import ProgramFailed

TABLES = """
SELECT relname FROM pg_class
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
 ORDER BY relname
"""

ROLE = "SELECT 1 FROM pg_roles WHERE rolname = %s"

PARTS = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
}
"""libpq's variables: so that no password is seen in a list of processes."""


class Failed(Exception):
    """A backup could not be made, restored, or does not hold what it should."""


class Content(msgspec.Struct, frozen=True):
    """What a table holds: its rows, and the sum of a hash of each, in which order does not matter."""

    rows: int
    digest: int


def backup(database_url: str, file: Path) -> dict[str, Content]:
    """Dump a database, and beside the file what it holds; both of one and the same moment."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert snapshot is not None
        new = file.with_name(f".{file.name}.new")
        _run(database_url, "pg_dump", "--format=custom", f"--snapshot={snapshot[0]}", f"--file={new}")
        found = contents(connection)
    manifest(file).write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    new.replace(file)
    return found


def restore(database_url: str, file: Path) -> dict[str, Content]:
    """Restore a backup into an empty database and compare every table with what was dumped.

    Raises:
        Failed: the database is not empty, the backup cannot be read, or a table differs.
    """
    try:
        expected = msgspec.json.decode(manifest(file).read_bytes(), type=dict[str, Content])
    except (OSError, msgspec.DecodeError) as error:
        raise Failed(f"{manifest(file)} says what {file.name} holds, and cannot be read: {error}") from error
    with psycopg.connect(database_url, autocommit=True) as connection:
        if found := [name for (name,) in connection.execute(TABLES)]:
            raise Failed(f"the database is not empty: there is a table {found[0]}; make a new one")
        for role in LOGINS.values():
            if connection.execute(ROLE, (role,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        database = connection.info.dbname
        words = ("--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={database}", str(file))
        _run(database_url, "pg_restore", *words)
        restored = contents(connection)
    if wrong := [name for name in expected if restored.get(name) != expected[name]]:
        raise Failed(f"restored, but not what was dumped: {', '.join(wrong)}")
    return restored


def manifest(file: Path) -> Path:
    """Return the file that says what a backup holds."""
    return file.with_name(f"{file.name}.json")


def contents(connection: psycopg.Connection) -> dict[str, Content]:
    """Read what every table holds."""
    connection.execute("SET TIME ZONE 'UTC'")
    query = sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} AS t")
    found: dict[str, Content] = {}
    for (name,) in connection.execute(TABLES).fetchall():
        row = connection.execute(query.format(sql.Identifier(name))).fetchone()
        assert row is not None
        found[name] = Content(row[0], int(row[1]))
    return found


def _run(database_url: str, program: str, *words: str) -> None:
    command = (_found(program), *words)
    environ = {**os.environ, **_parts(database_url)}
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Failed(f"{program}: {result.stderr.strip()[-2000:]}")


def _parts(database_url: str) -> Mapping[str, str]:
    parts = conninfo_to_dict(database_url)
    return {variable: str(parts[part]) for part, variable in PARTS.items() if parts.get(part)}


def _found(program: str) -> str:
    """Return the embedded Postgres' program, or that on the path: it must not be older than the server."""
    try:
        return str(postgres_binary(program))
    except ProgramFailed:
        if (path := shutil.which(program)) is None:
            raise Failed(f"{program} is needed: install Postgres' client programs") from None
        return path
