"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click

Existing = click.Path(exists=True, dir_okay=False, path_type=Path)
Fresh = click.Path(dir_okay=False, path_type=Path)


def local(name: str) -> Path:
    """Return the path of a file in the local data directory."""
    return Path(os.environ.get("LOCAL_DATA_DIR", ".local")) / name


def here(name: str) -> str | None:
    """Return a setting from the file that `NAME_FILE` names, or from the local stack's local.env."""
    from deploy.files import read_env
    from shared.settings import given

    return given(name, os.environ) or read_env(local("local.env")).get(name)


def needed(context: click.Context, option: click.Parameter, value: str | None) -> str:
    """Refuse an option that nobody gave: click takes a default that is None for a value."""
    if value is None:
        raise click.MissingParameter(ctx=context, param=option)
    return value


database = click.option(
    "--database-url",
    envvar="DATABASE_URL",
    default=lambda: here("DATABASE_URL"),
    callback=needed,
    help="Postgres, as the database's owner. Default: the local stack's.",
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")
