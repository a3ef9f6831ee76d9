"""Make, look at and revoke API keys: `keys`."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.commands.options import Existing, Fresh, local


@click.group()
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
