"""Fold a leaderboard from its history once more, and wait until it is there: `rebuild`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from deploy.commands.calling import Output, calls

if TYPE_CHECKING:
    from deploy.api import Leaderboard

FIRST_LOOK = 1.2
"""Seconds before the first look at how far it is: definitions are believed for one where they are read."""

PAUSE = 0.5
"""Seconds between two looks."""


@click.command()
@click.argument("game")
@click.argument("leaderboard")
@calls
async def rebuild(api: Leaderboard, out: Output, game: str, leaderboard: str) -> None:
    """Fold a leaderboard from its history into place, by its own definition.

    It is read and written as ever meanwhile; when the new entries are whole, they take the old ones' place.
    Stopping this command does not stop that.
    """
    import asyncio

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    path = f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}"
    told = await api.call("POST", f"{path}/rebuild")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=out.as_json) as bars:
        bar = bars.add_task(f"{game}/{leaderboard}", total=1.0)
        pause = FIRST_LOOK
        while told["status"] == "building":
            bars.update(bar, completed=told["progress"])
            await asyncio.sleep(pause)
            told, pause = await api.call("GET", path), PAUSE
        bars.update(bar, completed=1.0)
    if told.get("failure"):
        raise click.ClickException(f"{game}/{leaderboard} could not be built: {told['failure']}")
    out.say(told, f"{game}/{leaderboard} is what its history says: {told['total']} entries")
