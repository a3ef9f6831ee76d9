"""Move standings in and out: `import`, `export`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Self
from urllib.parse import quote

import click

from deploy.commands.calling import Output, calls

if TYPE_CHECKING:
    from deploy.api import Leaderboard
    from deploy.proof import Proof

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
@click.option("--expiry", help="nakama: the period whose records expire then. Default: the present one.")
@click.option("--name", help="What this import is called; one name is recorded once. Default: the board's.")
@click.option("--mode", help="The mode to record under: it decides which leaderboards count it.")
@click.option("--verify", is_flag=True, help="Record nothing; only compare.")
@click.option(
    "--report", type=click.File("w", encoding="utf-8"), help="Write every difference there, as CSV."
)
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
    expiry: str | None,
    name: str | None,
    mode: str | None,
    verify: bool,
    report: IO[str] | None,
) -> None:
    """Bring standings in from WHERE (a file, or a URL), then compare them rank by rank.

    csv: columns user_id, score and perhaps rank. jsonl: objects with the same. redis: a sorted set, by the
    URL of its server. podium: the URL of its Redis. nakama: the URL of its Postgres, or its table
    leaderboard_record as CSV. Broken off, it is taken up again by the same command, and nothing counts twice.
    """
    from deploy import sources, transfer
    from deploy.proof import Difference, prove

    source = sources.read(kind, where, board, expiry)
    target = transfer.Target(game, leaderboard, mode)
    definition = await api.call("GET", f"/v1/games/{quote(game)}/leaderboards/{quote(leaderboard)}")
    if source.order not in (None, definition["order"]):
        raise sources.Unusable(
            f"there the best is by {source.order}, here by {definition['order']}: "
            f"define the leaderboard with --order {source.order}"
        )
    with _Bars(out) as bars:
        if not verify:
            done = bars.add("recording", len(source.records))
            await transfer.bring_in(api, source, name or f"{kind}:{source.name}", target, done)
        done = bars.add("comparing", len(source.records))
        proof = await prove(api.standings(game, leaderboard), source, definition, done)
    if report is not None:
        lines = csv.writer(report)
        lines.writerow(Difference._fields)
        lines.writerows(proof.differences)
    answer = {
        **proof._asdict(),
        "differences": [each._asdict() for each in proof.differences],
        "notes": source.notes,
        "holds": proof.holds,
    }
    out.say(answer, _told(proof, source.notes))
    if not proof.holds:
        sys.exit(1)


class _Bars:
    """Progress bars on standard error; none with --json."""

    def __init__(self, out: Output) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=out.as_json)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def add(self, what: str, total: int) -> Callable[[int], None]:
        """Begin a bar; return what moves it on."""
        task = self._progress.add_task(what, total=total)
        return lambda count: self._progress.advance(task, count)


def _told(proof: Proof, notes: list[str]) -> str:
    """Say what was found, and why ranks that look different are not."""
    if proof.holds:
        lines = [f"proved: {proof.users:,} users have the same score here, and the rank it gives"]
    else:
        lines = [f"NOT the same, of {proof.users:,} users:"]
    for kind, count in proof.kinds.items():
        shown = [each for each in proof.differences if each.kind == kind][:SHOWN]
        lines += [f"  {kind}: {count:,}", *(f"    {each.told}" for each in shown)]
    if proof.strangers:
        lines.append(f"  {proof.strangers:,} users here are not in the source, and may stand among its users")
    return "\n".join([*lines, *(f"  note: {note}" for note in notes)])
