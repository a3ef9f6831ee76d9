"""Make the secrets of a deployment: `secrets`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--postgres-host", default="postgres", show_default=True)
@click.option("--redis-host", default="valkey", show_default=True)
def secrets(folder: Path, postgres_host: str, redis_host: str) -> None:
    """Make the passwords, keys and URLs of a deployment in FOLDER, a folder for each who reads them.

    What is there already is left as it is: run it again, and nothing changes.
    """
    from deploy.secrets import Hosts, make

    made = make(folder, Hosts(postgres_host, redis_host))
    click.echo(f"{folder}: {len(made)} secrets made" if made else f"{folder}: nothing was missing")
