"""The `leaderboard` command: what an operator runs by hand. Commands import what they need themselves."""

from __future__ import annotations

import sys

import click


@click.group()
@click.version_option(package_name="gaming-leaderboard")
def main() -> None:
    """Durable scores, exact tie-aware ranks, fast while millions play."""


@main.command()
def up() -> None:
    """Run everything on this machine: embedded Postgres and Valkey, the three services, a demo game.

    Settings are environment variables: GATEWAY_PORT (8080), SCORE_PORT (8081), RANK_PORT (8082),
    GATEWAY_HOST (127.0.0.1), GATEWAY_INTERNAL_PORT, LOCAL_POSTGRES_PORT, LOCAL_REDIS_PORT (free ports),
    LOCAL_DATA_DIR (.local).
    """
    from deploy import local
    from deploy.files import InUse
    from deploy.processes import ProgramFailed
    from shared.settings import SettingsError

    try:
        local.up()
    except (InUse, ProgramFailed, SettingsError, OSError) as error:
        click.echo(f"leaderboard: {error}", err=True)
        sys.exit(1)


@main.command()
@click.option(
    "--database-url", envvar="DATABASE_URL", required=True, help="As a role that may create tables and roles."
)
def migrate(database_url: str) -> None:
    """Bring the database to the newest schema."""
    import psycopg
    from sqlalchemy.exc import SQLAlchemyError

    from score_service.migrations import migrate as run

    try:
        run(database_url)
    except (psycopg.Error, SQLAlchemyError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("the database is at the newest schema")


if __name__ == "__main__":
    main()
