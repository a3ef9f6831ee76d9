"""Bring a database to the newest schema: `migrate`."""

from __future__ import annotations

import click


@click.command()
@click.option("--database-url", envvar="DATABASE_URL", required=True, help="A role that may make tables.")
def migrate(database_url: str) -> None:
    """Bring a database to the newest schema (DATABASE_URL)."""
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    from score_service.migrations import migrate as run

    try:
        run(database_url)
    except (psycopg.Error, SQLAlchemyError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("the database is at the newest schema")
