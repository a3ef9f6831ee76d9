"""Manage games and leaderboards through the API: `games`, `boards`, `seasons`, `ban`, `unban`, `void`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from deploy.commands.calling import Output, calls

if TYPE_CHECKING:
    from deploy.api import Leaderboard


@click.group()
def games() -> None:
    """List, make and archive games."""


@games.command("list")
@calls
async def list_games(api: Leaderboard, out: Output) -> None:
    """List all games."""
    answer = await api.call("GET", "/v1/games")
    rows = ((g["game"], g["title"], g["created_at"], g["archived_at"]) for g in answer["games"])
    out.show(answer, ("game", "title", "created", "archived"), rows)


@games.command()
@click.argument("game")
@click.option("--title")
@calls
async def make(api: Leaderboard, out: Output, game: str, title: str | None) -> None:
    """Make a game, or give it another title."""
    answer = await api.call("PUT", f"/v1/games/{quote(game)}", {"title": title} if title else {})
    out.say(answer, f"{game} is there")


@games.command()
@click.argument("game")
@calls
async def archive(api: Leaderboard, out: Output, game: str) -> None:
    """Hide a game, which then refuses writes; `games make` brings it back."""
    await api.call("DELETE", f"/v1/games/{quote(game)}")
    out.say({"game": game, "archived": True}, f"{game} is archived")


@click.group()
def boards() -> None:
    """List, define and drop leaderboards."""


@boards.command("list")
@click.argument("game")
@calls
async def list_boards(api: Leaderboard, out: Output, game: str) -> None:
    """List the leaderboards of a game."""
    answer = await api.call("GET", f"/v1/games/{quote(game)}/leaderboards")
    fields = ("leaderboard", "operator", "order", "ties", "schedule", "modes", "total")
    out.show(answer, fields, ([board.get(field) for field in fields] for board in answer["leaderboards"]))


@boards.command()
@click.argument("game")
@click.argument("leaderboard")
@click.option("--title")
@click.option("--operator", type=click.Choice(["sum", "best", "latest", "count"]))
@click.option("--order", type=click.Choice(["desc", "asc"]))
@click.option("--ties", type=click.Choice(["competition", "dense", "first"]))
@click.option("--schedule", help="hourly, daily, weekly, monthly, or a cron expression.")
@click.option("--timezone")
@click.option("--mode", "modes", multiple=True, help="A mode that counts, given as often. Default: all.")
@click.option("--min-score", type=int)
@click.option("--max-score", type=int)
@click.option(
    "--webhook", help="An https URL that sealed seasons are announced to; '' for none. Default: as before."
)
@calls
async def define(api: Leaderboard, out: Output, /, game: str, leaderboard: str, **definition: Any) -> None:
    """Define a leaderboard, or define it anew; what is not given takes its default."""
    body = {name: value for name, value in definition.items() if value not in (None, ())}
    if body.get("webhook") == "":
        body["webhook"] = None
    answer = await api.call("PUT", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}", body)
    status = (answer or {}).get("status", "ready")
    out.say(answer, f"{game}/{leaderboard} is defined ({status})")


@boards.command()
@click.argument("game")
@click.argument("leaderboard")
@calls
async def webhook(api: Leaderboard, out: Output, game: str, leaderboard: str) -> None:
    """Show where sealed seasons are announced, and what became of the newest announcements."""
    answer = await api.call("GET", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}/webhook")
    fields = ("season", "status", "attempts", "created_at", "next_at", "error")
    rows = ([each[field] for field in fields] for each in answer["announcements"])
    out.show(answer, fields, rows, title=answer["webhook"] or "no webhook")


@boards.command()
@click.argument("game")
@click.argument("leaderboard")
@calls
async def drop(api: Leaderboard, out: Output, game: str, leaderboard: str) -> None:
    """Drop a leaderboard; the history stays."""
    await api.call("DELETE", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}")
    out.say({"leaderboard": leaderboard, "dropped": True}, f"{game}/{leaderboard} is dropped")


@click.command()
@click.argument("game")
@click.argument("leaderboard")
@calls
async def seasons(api: Leaderboard, out: Output, game: str, leaderboard: str) -> None:
    """List the seasons of a leaderboard."""
    answer = await api.call("GET", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}/seasons")
    fields = ("id", "starts_at", "ends_at", "status", "total", "digest")
    out.show(answer, fields, ([season.get(field) for field in fields] for season in answer["seasons"]))


@click.command()
@click.argument("game")
@click.argument("user_id")
@click.option("--reason")
@calls
async def ban(api: Leaderboard, out: Output, game: str, user_id: str, reason: str | None) -> None:
    """Hide a user from every leaderboard of a game."""
    body = {"reason": reason} if reason else {}
    await api.call("POST", f"/v1/games/{quote(game)}/users/{quote(user_id)}/ban", body)
    out.say({"user_id": user_id, "banned": True}, f"{user_id} is banned from {game}")


@click.command()
@click.argument("game")
@click.argument("user_id")
@calls
async def unban(api: Leaderboard, out: Output, game: str, user_id: str) -> None:
    """Show a user again, scores intact."""
    await api.call("DELETE", f"/v1/games/{quote(game)}/users/{quote(user_id)}/ban")
    out.say({"user_id": user_id, "banned": False}, f"{user_id} is shown in {game} again")


@click.command()
@click.argument("game")
@click.argument("session_id")
@click.option("--reason", required=True)
@calls
async def void(api: Leaderboard, out: Output, game: str, session_id: str, reason: str) -> None:
    """Take a session out of every leaderboard; the record stays."""
    path = f"/v1/games/{quote(game)}/sessions/{quote(session_id)}/void"
    answer = await api.call("POST", path, {"reason": reason})
    out.say(answer, f"{session_id} counts no more")
