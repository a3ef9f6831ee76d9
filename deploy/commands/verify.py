"""Prove that a leaderboard is what its history says: `verify`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from deploy.commands.calling import Output, first
from deploy.commands.options import database, here, json_flag, needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.verify import Findings, Step


class Unanswered(click.ClickException):
    """It could not be found out; 1 says that there are differences."""

    exit_code = 2


@click.command()
@click.argument("game")
@click.argument("leaderboard")
@click.option("--season", help="current, previous or an id. Default: all seasons.")
@database
@click.option("--redis-url", envvar="REDIS_URL", default=lambda: here("REDIS_URL"), callback=needed)
@json_flag
def verify(
    game: str, leaderboard: str, season: str | None, database_url: str, redis_url: str, as_json: bool
) -> None:
    """Prove that entries are the fold of the history, and that the index holds them, rank by rank.

    Sealed seasons are compared with their digest. Nothing is written, and sessions may go on. Exits 1 when
    anything differs, 2 when that cannot be found out.
    """
    import asyncio

    from deploy.verify import verify as compare
    from shared.errors import LeaderboardError, StoreUnavailable

    async def run() -> Findings:
        with _bars(shown=not as_json) as step:
            return await compare(database_url, redis_url, game, leaderboard, season, step)

    try:
        found = asyncio.run(run())
    except* (LeaderboardError, StoreUnavailable, OSError, ValueError) as errors:
        raise Unanswered(str(first(errors))) from errors
    Output(as_json=as_json).say(found.answer(), _told(found))
    sys.exit(1 if found.total else 0)


@contextmanager
def _bars(*, shown: bool) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bars:
        tasks = {}

        def step(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total or None)
            bars.update(tasks[name], completed=done)

        yield step


def _told(found: Findings) -> str:
    """Say what was found."""
    compared = ", ".join(f"{number:,} {what}" for what, number in found.compared.items() if number)
    if not found.total:
        lines = [f"equal: {compared or 'nothing to compare'}"]
    else:
        kinds = ", ".join(f"{what}: {number:,}" for what, number in found.differences.items())
        lines = [f"NOT equal, {found.total:,} differences ({kinds}) in {compared}"]
        lines += [
            f"  {each.what}, season {each.season}{f', {each.user_id}' if each.user_id else ''}:"
            f" {each.stored}; should be {each.should}"
            for each in found.first
        ]
        if found.total > len(found.first):
            lines.append(f"  and {found.total - len(found.first):,} more")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])
