"""Bring a database to the newest schema: `migrate`."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.commands.options import Existing


@click.command()
@click.option("--database-url", envvar="DATABASE_URL", help="A role that may make tables and roles.")
@click.option("--database-url-file", envvar="DATABASE_URL_FILE", type=Existing, help="A file that holds it.")
@click.option(
    "--logins",
    envvar="LOGINS_FILE",
    type=Existing,
    help='A file {"score_service": PASSWORD, "rank_service": PASSWORD}: make these logins.',
)
def migrate(database_url: str | None, database_url_file: Path | None, logins: Path | None) -> None:
    """Bring a database to the newest schema (DATABASE_URL, or DATABASE_URL_FILE)."""
    import msgspec
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    from deploy.database import let_in
    from score_service.migrations import migrate as run

    if database_url is None and database_url_file is not None:
        database_url = database_url_file.read_text().strip()
    if not database_url:
        raise click.UsageError("Missing option '--database-url' (or DATABASE_URL, or DATABASE_URL_FILE).")
    try:
        passwords = msgspec.json.decode(logins.read_bytes(), type=dict[str, str]) if logins else {}
        run(database_url)
        let_in(database_url, passwords)
    except (psycopg.Error, SQLAlchemyError, msgspec.DecodeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("the database is at the newest schema")
