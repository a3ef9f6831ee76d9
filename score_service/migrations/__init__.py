"""Migrations of the truth: Alembic running plain SQL, one .sql file a revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config

FOLDER = Path(__file__).parent

MIGRATOR = 7_226_402_138
"""The advisory lock that migrators take turns by."""


def migrate(database_url: str) -> None:
    """Bring a database to the newest revision; nothing happens where it is there already.

    Several replicas may call this at once: one migrates, the others wait and find it done.
    The role needs CREATE on the database and CREATEROLE.
    """
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")


def before(revision_file: str) -> str:
    """Return the revision that a file's follows: the one with the next lower number there is."""
    path = Path(revision_file)
    return max(each.name for each in path.parent.glob("[0-9]*.py") if each.name < path.name)[:4]


def run_sql(revision_file: str) -> None:
    """Run the .sql file that lies beside a revision, as it stands."""
    statements = Path(revision_file).with_suffix(".sql").read_text()
    # Without parameters, so that a file may hold many statements and `%` means itself.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
