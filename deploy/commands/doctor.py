"""Say what is wrong and what to do: `doctor`."""

from __future__ import annotations

import sys

import click

from deploy.commands.calling import Output
from deploy.commands.options import here, json_flag


@click.command()
@click.option("--url", envvar="GATEWAY_URL", default=lambda: here("GATEWAY_URL"), help="The gateway.")
@click.option("--key", envvar="LEADERBOARD_KEY", default=lambda: here("ADMIN_KEY"), help="An admin key.")
@click.option("--database-url", envvar="DATABASE_URL", default=lambda: here("DATABASE_URL"), help="Postgres.")
@click.option("--redis-url", envvar="REDIS_URL", default=lambda: here("REDIS_URL"), help="Redis or Valkey.")
@json_flag
def doctor(
    url: str | None, key: str | None, database_url: str | None, redis_url: str | None, as_json: bool
) -> None:
    """Check settings, versions, connectivity, clocks and lag; say what to do. Exits 1 when any is wrong."""
    import asyncio

    from deploy.doctor import Finding, Places, examine

    async def run() -> list[Finding]:
        return [each async for each in examine(Places(url, key or "", database_url, redis_url))]

    found = asyncio.run(run())
    names = ("what", "verdict", "seen", "advice")
    answer = {"findings": [dict(zip(names, finding, strict=True)) for finding in found]}
    Output(as_json=as_json).show(answer, names, found)
    sys.exit(any(verdict == "wrong" for _, verdict, _, _ in found))
