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


@click.command()
@click.option("--rate", type=click.FloatRange(0.1, 2000), default=50.0, help="Sessions a second, on average.")
@click.option("--players", type=click.IntRange(2, 20_000), default=400, help="Bots that play.")
@click.option("--seconds", type=click.FloatRange(0), default=0.0, help="How long; 0 is until Ctrl-C.")
def demo(rate: float, players: int, seconds: float) -> None:
    """Let bots play the demo game, so that its page moves: skill decides, and more play in their evenings.

    Uses the stack that runs in LOCAL_DATA_DIR, or starts one for this.
    """
    from contextlib import suppress

    from deploy.demo import Pace, run
    from deploy.processes import ProgramFailed

    try:
        with suppress(KeyboardInterrupt):
            run(Pace(players, rate, seconds))
    except* (ProgramFailed, OSError) as errors:
        raise click.ClickException(str(errors.exceptions[0])) from errors
