"""Submit scores and look at ranks through the API: `submit`, `top`, `rank`, `watch`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from deploy.commands.calling import Output, calls

if TYPE_CHECKING:
    from rich.table import Table

    from deploy.api import Leaderboard

COLUMNS = ("rank", "user", "name", "score", "shared by")


def row(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Return an entry as a row of a table."""
    shared = entry["ties"] if entry["ties"] > 1 else None
    return entry["rank"], entry["user_id"], entry.get("display_name"), entry["score"], shared


def parsed(results: tuple[str, ...]) -> dict[str, int]:
    """Read USER=SCORE words."""
    pairs = [result.rpartition("=") for result in results]
    for user, equals, score in pairs:
        if not equals or not user or not score.removeprefix("-").isdigit():
            raise click.UsageError(f"{user}{equals}{score}: write USER=SCORE, a whole number")
    return {user: int(score) for user, _, score in pairs}


@click.command()
@click.argument("game")
@click.argument("results", nargs=-1, required=True, metavar="USER=SCORE...")
@click.option("--mode")
@click.option("--session-id", help="Any UUID; the same one counts once. Default: a new one.")
@calls
async def submit(
    api: Leaderboard,
    out: Output,
    game: str,
    results: tuple[str, ...],
    mode: str | None,
    session_id: str | None,
) -> None:
    """Record one session."""
    answer = await api.submit(game, parsed(results), mode=mode, session_id=session_id)
    rows = (
        (r["user_id"], e["leaderboard"], e.get("score"), e.get("rank"), e.get("previous_rank"))
        for r in answer["results"]
        for e in r["entries"]
    )
    out.show(answer, ("user", "leaderboard", "score", "rank", "before"), rows, answer["session_id"])


@click.command()
@click.argument("game")
@click.argument("leaderboard", default="global")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@click.option("--season", default="current", show_default=True)
@calls
async def top(
    api: Leaderboard, out: Output, game: str, leaderboard: str, limit: int, offset: int, season: str
) -> None:
    """Show the top of a leaderboard."""
    answer = await api.top(game, leaderboard, limit=limit, offset=offset, season=season)
    title = f"{game}/{leaderboard}, {answer['total']:,} users, from the {answer['source']}"
    out.show(answer, COLUMNS, map(row, answer["entries"]), title)


@click.command()
@click.argument("game")
@click.argument("leaderboard")
@click.argument("user_id")
@click.option("--around", type=click.IntRange(0, 50), default=0, help="Neighbours to show on each side.")
@click.option("--season", default="current", show_default=True)
@calls
async def rank(
    api: Leaderboard, out: Output, game: str, leaderboard: str, user_id: str, around: int, season: str
) -> None:
    """Show one user's rank, and who is near."""
    if around:
        answer = await api.around(game, leaderboard, user_id, radius=around, season=season)
    else:
        answer = await api.entry(game, leaderboard, user_id, season=season)
    entries = answer.get("entries") or [answer["entry"]]
    out.show(answer, COLUMNS, map(row, entries), f"{game}/{leaderboard}, {answer['total']:,} users")


@click.command()
@click.argument("game")
@click.argument("leaderboard", default="global")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
@click.option("--user", "user_id", help="Watch this user's own entry too.")
@click.option("--events", type=click.IntRange(1), help="Stop after so many events.")
@calls
async def watch(
    api: Leaderboard,
    out: Output,
    game: str,
    leaderboard: str,
    limit: int,
    user_id: str | None,
    events: int | None,
) -> None:
    """Watch a leaderboard live; with --json, an event a line."""
    from rich.live import Live

    seen = 0
    live = Live(auto_refresh=False, screen=False)
    try:
        with live:
            async for event in api.events(game, leaderboard, limit=limit, user_id=user_id):
                if out.as_json:
                    click.echo(json.dumps({"event": event.name, "data": event.data}, ensure_ascii=False))
                elif event.name == "top":
                    live.update(_standings(f"{game}/{leaderboard}", event.data), refresh=True)
                elif event.name == "entry" and (entry := event.data.get("entry")):
                    live.console.print(f"{entry['user_id']}: rank {entry['rank']}, score {entry['score']}")
                seen += 1
                if seen == events:
                    return
    finally:
        # rich ends the last table's line on a terminal only.
        if live.get_renderable() and not live.console.is_terminal:
            click.echo()


def _standings(title: str, page: dict[str, Any]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(*COLUMNS, title=f"{title}, {page['total']:,} users, {page['as_of']}")
    for entry in page["entries"]:
        table.add_row(*("" if value is None else escape(str(value)) for value in row(entry)))
    return table
