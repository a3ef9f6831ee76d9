"""`score_service/schema.sql`, the schema as it stands today: written by `make schema` from the migrations."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from secrets import token_hex

from deploy.embedded import THROW_AWAY, Postgres, free_ports, postgres_binary
from deploy.processes import ProgramFailed, await_ready, spawn, stop

SCHEMA = Path(__file__).parent.parent / "score_service" / "schema.sql"

HEADER = "-- The schema as it stands, written by `make schema` from the migrations. Do not edit.\n\n"

# Partitions are named after months, so what there is of them depends on the day.
LEFT_OUT = ("*_20??_??", "*_past", "alembic_version")

_NOISE = re.compile(r"^(--.*|SET .*;|\\(un)?restrict .*|SELECT pg_catalog\.set_config.*)\n", re.MULTILINE)


def dump(database_url: str) -> str:
    """Return the schema of a database, without what differs between two dumps of the same one.

    Raises:
        ProgramFailed: pg_dump failed.
    """
    excluded = [f"--exclude-table={pattern}" for pattern in LEFT_OUT]
    command = [str(postgres_binary("pg_dump")), "--schema-only", "--no-owner", *excluded, database_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ProgramFailed(f"pg_dump failed: {done.stderr}")
    text = _NOISE.sub("", done.stdout).replace("public.", "")
    return HEADER + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main() -> None:
    """Migrate a throw-away database and write down where that arrives."""
    from score_service.migrations import migrate

    with tempfile.TemporaryDirectory() as name:
        folder, (port,) = Path(name), free_ports(1)
        server = Postgres(folder / "postgres", port, token_hex(), folder / "log", THROW_AWAY)
        server.initialise()
        process = spawn(server.program())
        try:
            await_ready(process, server.program(), lambda: server.is_ready(process.pid))
            migrate(server.url("postgres"))
            SCHEMA.write_text(dump(server.url("postgres")))
        finally:
            stop(process, server.program())
    print(f"wrote {SCHEMA}")


if __name__ == "__main__":
    main()
