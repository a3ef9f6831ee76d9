"""The `leaderboard` command: what an operator runs by hand. Commands import what they need themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

Existing = click.Path(exists=True, dir_okay=False, path_type=Path)
Fresh = click.Path(dir_okay=False, path_type=Path)


def local(name: str) -> Path:
    """Return the path of a file in the local data directory."""
    return Path(os.environ.get("LOCAL_DATA_DIR", ".local")) / name


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
    from deploy.files import InUse
    from deploy.local import up as run
    from deploy.processes import ProgramFailed
    from shared.settings import SettingsError

    try:
        run()
    except (InUse, ProgramFailed, SettingsError, OSError) as error:
        click.echo(f"leaderboard: {error}", err=True)
        sys.exit(1)


@main.command()
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


@main.command()
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


@main.group()
def keys() -> None:
    """Make, look at and revoke API keys."""


@keys.command()
@click.argument("signing_key", type=Fresh)
@click.argument("jwks", type=Fresh)
def new(signing_key: Path, jwks: Path) -> None:
    """Make a SIGNING_KEY (keep it secret) and add its public half to JWKS (give that to the gateway)."""
    from shared.keys import SigningKey, read_jwks, write_jwks

    known = read_jwks(jwks) if jwks.exists() else {}
    made = SigningKey.generate()
    try:
        made.write(signing_key)
    except FileExistsError as error:
        raise click.ClickException(f"{signing_key} exists: a signing key is never overwritten") from error
    write_jwks(jwks, [*known.values(), made.public])
    click.echo(f"signing key {made.kid}: {signing_key}; {len(known) + 1} public keys: {jwks}")


@keys.command()
@click.option("--scope", type=click.Choice(["read", "submit", "admin"]), required=True)
@click.option("--game", "games", multiple=True, help="A game it is good for, given as often. Default: all.")
@click.option("--id", "key_id", help="Its name in logs and for revoking. Default: a random one.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Days until it ends. Default: never.")
@click.option("--signing-key", type=Existing, default=lambda: local("signing.pem"), help="A file.")
def mint(scope: str, games: tuple[str, ...], key_id: str | None, days: int | None, signing_key: Path) -> None:
    """Print a new API key. A scope includes the ones before it: read, submit, admin."""
    from shared.keys import SigningKey

    seconds = None if days is None else days * 86_400
    try:
        signing = SigningKey.read(signing_key)
        token = signing.mint(scope, games=games or "*", key_id=key_id, expires_in=seconds)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(token)


@keys.command()
@click.argument("token")
@click.option("--jwks", type=Existing, help="Check it against these public keys.")
def inspect(token: str, jwks: Path | None) -> None:
    """Print what a key says; it is checked only when JWKS is given."""
    import orjson

    from shared.keys import KeyRefused, read_jwks, verify
    from shared.keys import inspect as look

    try:
        click.echo(orjson.dumps(look(token), option=orjson.OPT_INDENT_2))
        if jwks is not None:
            verify(token, read_jwks(jwks))
            click.echo("valid")
    except (KeyRefused, ValueError) as error:
        raise click.ClickException(str(error)) from error


@keys.command()
@click.argument("key_id")
@click.option("--file", type=Fresh, default=lambda: local("revoked"), help="The gateway's REVOKED_KEYS_FILE.")
def revoke(key_id: str, file: Path) -> None:
    """Add a key's id to the revoked ones; the gateway notices by itself."""
    from shared.keys import revoke as add

    try:
        add(file, key_id)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{key_id} is revoked in {file}")


if __name__ == "__main__":
    main()
