"""`make example`: every line of Batting.csv posted through the API; then the career leaders, ties and all."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy import baseball
from deploy.baseball import GAME, STATISTICS, Statistic
from deploy.borrowed import running, stack
from deploy.client import Answer, Client
from deploy.processes import ProgramFailed

IN_FLIGHT = 64
"""Sessions posted at once: what one waits for, the next ones are already on their way."""

ATTEMPTS = 8
"""Times a session is posted before we give up; it counts once, however often it arrives."""

console = Console()


@dataclass
class Tally:
    """What became of the sessions posted."""

    recorded: int = 0
    replayed: int = 0


def run(leaderboard: str, limit: int) -> None:
    """Post a statistic to the stack that runs here, or to one started for this, and print its leaders."""
    folder = Path(os.environ.get("LOCAL_DATA_DIR", ".local")).absolute()
    if not running(folder):
        console.print(f"no stack runs in {folder}: starting one for this example")
    with stack(folder, os.environ) as values:
        uvloop.run(play(values["GATEWAY_URL"], values["ADMIN_KEY"], STATISTICS[leaderboard], limit))


async def play(url: str, key: str, statistic: Statistic, limit: int) -> None:
    """Define the leaderboard, post everything, print the leaders."""
    sessions = [baseball.session(statistic, line) for line in baseball.lines(statistic)]
    async with Client(url, key, connections=IN_FLIGHT) as client:
        await define(client, statistic)
        began = time.perf_counter()
        with progress() as bar:
            task = bar.add_task(statistic.title, total=len(sessions), rate="")

            def posted(tally: Tally) -> None:
                done = tally.recorded + tally.replayed
                if done % 64 and done != len(sessions):
                    return
                rate = done / (time.perf_counter() - began)
                bar.update(task, completed=done, rate=f"{rate:,.0f}/s")

            tally = await post(client, sessions, posted)
        seconds = time.perf_counter() - began
        console.print(
            f"{len(sessions):,} results in {seconds:.1f} s ({len(sessions) / seconds:,.0f}/s):"
            f" {tally.recorded:,} recorded, {tally.replayed:,} known already"
        )
        await show(client, statistic, limit)


def progress() -> Progress:
    """Make the progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=console)


async def define(client: Client, *statistics: Statistic) -> None:
    """Make the game with a leaderboard for each statistic, told apart by the mode of their sessions."""
    expect(await client.call("PUT", f"/v1/games/{GAME}", {"title": "Baseball"}), 200, 201)
    for statistic in statistics:
        body = {"title": statistic.title, "operator": "sum", "modes": [statistic.leaderboard]}
        expect(await client.call("PUT", f"{boards()}/{statistic.leaderboard}", body), 200, 201)
    # A new game has a leaderboard of everything; runs and hits together would mean nothing.
    expect(await client.call("DELETE", f"{boards()}/global"), 204, 404)


def boards() -> str:
    """Return the path of the game's leaderboards."""
    return f"/v1/games/{GAME}/leaderboards"


async def post(
    client: Client, sessions: Iterable[dict[str, Any]], posted: Callable[[Tally], None] = lambda _: None
) -> Tally:
    """Post sessions, `IN_FLIGHT` at once; `posted` is called after each."""
    tally, left = Tally(), iter(sessions)
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(_post_some(client, left, tally, posted))
    return tally


async def _post_some(
    client: Client, left: Iterator[dict[str, Any]], tally: Tally, posted: Callable[[Tally], None]
) -> None:
    for session in left:
        status = await _post_one(client, session)
        tally.recorded += status == 201
        tally.replayed += status == 200
        posted(tally)


async def _post_one(client: Client, session: dict[str, Any]) -> int:
    for attempt in range(ATTEMPTS):
        try:
            answer = await client.call("POST", f"/v1/games/{GAME}/sessions", session)
        except (OSError, TimeoutError):
            answer = Answer(503, "the connection broke")
        if answer.status not in (429, 502, 503, 504):
            break
        await asyncio.sleep(0.1 * 2**attempt)
    expect(answer, 200, 201)
    return answer.status


async def show(client: Client, statistic: Statistic, limit: int) -> None:
    """Print the leaders; who shares a total shares the rank."""
    answer = await client.call("GET", f"{boards()}/{statistic.leaderboard}/top?limit={limit}")
    page = expect(answer, 200).body
    console.print(f"{statistic.title} of {page['total']:,} players:")
    table = Table("rank", "player", "total", "")
    known = baseball.names()
    for entry in page["entries"]:
        shared = f"shared by {entry['ties']}" if entry["ties"] > 1 else ""
        name = known.get(entry["user_id"], entry["user_id"])
        table.add_row(str(entry["rank"]), name, str(entry["score"]), shared)
    console.print(table)


def expect(answer: Answer, *statuses: int) -> Answer:
    """Return an answer that has one of these statuses.

    Raises:
        ProgramFailed: it has another one.
    """
    if answer.status not in statuses:
        raise ProgramFailed(f"the API answered {answer.status}: {answer.body}")
    return answer
