"""Move standings in and out: `import`, `export`."""

from __future__ import annotations

import csv
import json
import sys
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import click

from deploy.commands.calling import Output, calls

if TYPE_CHECKING:
    from deploy.api import Leaderboard
    from deploy.transfer import Proof

SHOWN = 10
"""Differences shown of each kind."""


@click.command("export")
@click.argument("game")
@click.argument("leaderboard")
@click.option("--season", default="current", show_default=True)
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--output", type=click.File("w", encoding="utf-8"), default="-", help="Default: the terminal.")
@calls
async def export(
    api: Leaderboard, out: Output, game: str, leaderboard: str, season: str, form: str, output: IO[str]
) -> None:
    """Write the whole standings, best first; --json is the same as --format jsonl."""
    lines = csv.writer(output)
    if form == "csv" and not out.as_json:
        lines.writerow(("rank", "user_id", "score", "ties"))
    async for entry in api.standings(game, leaderboard, season=season):
        if form == "csv" and not out.as_json:
            lines.writerow((entry["rank"], entry["user_id"], entry["score"], entry["ties"]))
        else:
            output.write(json.dumps(entry, ensure_ascii=False) + "\n")


@click.command("import")
@click.argument("kind", type=click.Choice(["csv", "jsonl", "redis", "podium", "nakama"]))
@click.argument("where")
@click.argument("game")
@click.argument("leaderboard")
@click.option("--board", help="redis: the sorted set's key; podium, nakama: the leaderboard's id there.")
@click.option("--name", help="What this import is called; one name is recorded once. Default: the board's.")
@click.option("--mode", help="The mode to record under: it decides which leaderboards count it.")
@click.option("--verify", is_flag=True, help="Record nothing; only compare.")
@calls
async def bring_in(
    api: Leaderboard,
    out: Output,
    /,
    kind: str,
    where: str,
    game: str,
    leaderboard: str,
    board: str | None,
    name: str | None,
    mode: str | None,
    verify: bool,
) -> None:
    """Bring standings in from WHERE (a file, or a Redis URL), then compare them rank by rank.

    csv: columns user_id, score. jsonl: objects with both. redis: a sorted set. podium: its Redis. nakama: its
    table leaderboard_record as CSV. Broken off, it is taken up again by the same command, and nothing counts
    twice.
    """
    from deploy import sources, transfer

    source = sources.read(kind, where, board)
    source = source._replace(name=name or f"{kind}:{source.name}")
    target = transfer.Target(game, leaderboard, mode)
    definition = await api.call("GET", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}")
    if not verify:
        await _record(api, source, target, out)
    proof = await transfer.prove(api, source, target, definition)
    out.say({**proof._asdict(), "holds": proof.holds}, _told(proof, source.ties, definition["ties"]))
    if not proof.holds:
        sys.exit(1)


async def _record(api: Leaderboard, source: Any, target: Any, out: Output) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from deploy.transfer import bring_in as record

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=out.as_json) as bar:
        task = bar.add_task(source.name, total=len(source.standings))
        await record(api, source, target, lambda count: bar.advance(task, count))


def _told(proof: Proof, there: str, here: str) -> str:
    """Say what was found, and why ranks that look different are not."""
    if proof.holds:
        lines = [f"proved: {proof.users:,} users have the same score here, and the rank it gives"]
    else:
        lines = [f"NOT the same, of {proof.users:,} users:"]
    for title, found in (
        ("missing here", proof.missing),
        ("another score", proof.scores),
        ("another rank", proof.ranks),
    ):
        if found:
            lines += [f"  {title}: {len(found):,}", *(f"    {each}" for each in found[:SHOWN])]
    if proof.strangers:
        lines.append(f"  {proof.strangers:,} users here are not in the source, and may stand among its users")
    if proof.tied:
        lines.append(f"  {proof.tied:,} share a score: told apart there {there}; here ties are {here!r}")
    return "\n".join(lines)
