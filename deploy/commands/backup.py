"""Keep the truth safe: `backup`, `restore`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from deploy.commands.calling import Output
from deploy.commands.options import Existing, Fresh, database, json_flag


@click.command()
@click.argument("file", type=Fresh)
@database
@json_flag
def backup(file: Path, database_url: str, as_json: bool) -> None:
    """Dump the database to FILE, and what it holds to FILE.json, while it is in use."""
    from deploy.backup import backup as dump

    _told(lambda: dump(database_url, file), Output(as_json=as_json), f"{file} holds")


@click.command()
@click.argument("file", type=Existing)
@click.option("--database-url", envvar="DATABASE_URL", required=True, help="An empty database, as its owner.")
@json_flag
def restore(file: Path, database_url: str, as_json: bool) -> None:
    """Restore FILE into an empty database, and prove that it holds what was dumped.

    Afterwards: `leaderboard migrate`, point the services at it, and flush Redis.
    """
    from deploy.backup import restore as load

    _told(lambda: load(database_url, file), Output(as_json=as_json), "restored and proved:")


def _told(work: Callable[[], dict[str, Any]], out: Output, sentence: str) -> None:
    import msgspec
    import psycopg

    from deploy.backup import Failed

    try:
        found = work()
    except (Failed, OSError, psycopg.Error) as error:
        raise click.ClickException(str(error)) from error
    rows = {name: content.rows for name, content in found.items()}
    held = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count)
    out.say(msgspec.to_builtins(found), f"{sentence} {held or 'no rows'}")
