"""Run everything on this machine, and play with it: `up`, `example`."""

from __future__ import annotations

import sys

import click


@click.command()
def up() -> None:
    """Run everything on this machine: embedded Postgres and Valkey, the three services, a demo game.

    Settings are environment variables: GATEWAY_PORT (8080), SCORE_PORT (8081), RANK_PORT (8082),
    GATEWAY_HOST (127.0.0.1), GATEWAY_INTERNAL_PORT, LOCAL_POSTGRES_PORT, LOCAL_REDIS_PORT (free ports),
    LOCAL_DATA_DIR (.local).
    """
    from deploy.files import InUse
    from deploy.local import up as run
    from deploy.processes import ProgramFailed
    from shared.settings import SettingsError

    try:
        run()
    except (InUse, ProgramFailed, SettingsError, OSError) as error:
        click.echo(f"leaderboard: {error}", err=True)
        sys.exit(1)


@click.command()
@click.option("--statistic", type=click.Choice(["home-runs", "hits"]), default="home-runs")
@click.option("--limit", type=click.IntRange(1, 100), default=25, help="Leaders to print.")
def example(statistic: str, limit: int) -> None:
    """Post 108,789 lines of baseball through the API, one session each, and print the career leaders.

    Uses the stack that runs in LOCAL_DATA_DIR, or starts one for this. Running it again changes nothing.
    """
    from deploy.example import run
    from deploy.processes import ProgramFailed

    try:
        run(statistic, limit)
    except* (ProgramFailed, OSError) as errors:
        raise click.ClickException(str(errors.exceptions[0])) from errors
