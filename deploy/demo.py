"""`make demo`: bots play the demo game for as long as it runs, so that there is something to watch."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import uvloop
from rich.console import Console

from deploy import bots
from deploy.borrowed import running, stack
from deploy.bots import Bot
from deploy.client import Client
from deploy.example import expect
from deploy.site import DEMO

IN_FLIGHT = 32
"""Sessions posted at once; when the services are slower than the rate, bots wait."""

TURN = 0.05
"""Seconds between two looks at how many sessions are due."""

BOARDS: dict[str, dict[str, object]] = {
    "global": {"title": "All time"},
    "best": {"title": "Best match", "operator": "best", "ties": "first"},
    "played": {"title": "Matches played", "operator": "count", "ties": "dense"},
    "weekly": {"title": "This week", "operator": "sum", "schedule": "weekly"},
    "sprint": {"title": "Ten-minute sprint", "operator": "sum", "schedule": "*/10 * * * *"},
}
"""Leaderboards of the demo; the sprint's seasons end while one watches."""

PAST = timedelta(days=1)
EARLIER = 2000
"""Sessions of a day that is over, played at once where nobody has played yet: a page that is lived in."""

BATCH = 150
"""Sessions in one call: six players each are fewer than the 1000 results it may hold."""

console = Console()


@dataclass(frozen=True)
class Pace:
    """How lively it is: bots, sessions a second in an average hour, seconds (0: no end); and the game."""

    players: int
    rate: float
    seconds: float
    game: str = DEMO


def run(pace: Pace) -> None:
    """Play on the stack that runs here, or on one started for this, until the end or Ctrl-C."""
    folder = Path(os.environ.get("LOCAL_DATA_DIR", ".local")).absolute()
    if not running(folder):
        console.print(f"no stack runs in {folder}: starting one for the demo")
    with stack(folder, os.environ) as values:
        console.print(f"watch it: {values['GATEWAY_URL']}   (Ctrl-C ends it)")
        uvloop.run(live(values["GATEWAY_URL"], values["ADMIN_KEY"], pace))


async def live(url: str, key: str, pace: Pace) -> None:
    """Introduce the bots, then let them play."""
    rng = Random(20)  # noqa: S311  the same bots each time, no secret
    everyone = bots.make(pace.players, rng)
    async with Client(url, key, connections=IN_FLIGHT) as client:
        await define(client, pace.game)
        await introduce(client, pace.game, everyone)
        await play_earlier(client, pace.game, everyone)
        await keep_playing(client, everyone, pace)


async def define(client: Client, game: str) -> None:
    """Make the game and its leaderboards; those that somebody has titled stay as they are."""
    expect(await client.call("PUT", f"/v1/games/{game}", {"title": "Demo"}), 200, 201)
    for name, body in BOARDS.items():
        path = f"/v1/games/{game}/leaderboards/{name}"
        known = await client.call("GET", path)
        if known.status == 404 or not known.body["title"]:
            expect(await client.call("PUT", path, body), 200, 201)


async def play_earlier(client: Client, game: str, everyone: list[Bot]) -> None:
    """Post the matches of the last day, in the order they were played, where there are none."""
    standings = expect(await client.call("GET", f"/v1/games/{game}/leaderboards/global/top?limit=1"), 200)
    if standings.body["total"]:
        return
    rng = Random(21)  # noqa: S311  chance, no secret
    matches = bots.past(everyone, datetime.now(UTC), PAST, EARLIER, rng)
    for i in range(0, len(matches), BATCH):
        sessions = [
            {"mode": "ranked", "played_at": at.isoformat(), "results": bots.play(players, rng)}
            for at, players in matches[i : i + BATCH]
        ]
        expect(await client.call("POST", f"/v1/games/{game}/sessions/batch", {"sessions": sessions}), 200)


async def introduce(client: Client, game: str, everyone: list[Bot]) -> None:
    """Give the bots their names and countries."""
    async with asyncio.TaskGroup() as group:
        for bot in everyone:
            profile = {"display_name": bot.name, "country": bot.country}
            group.create_task(client.call("PUT", f"/v1/games/{game}/users/{bot.user_id}", profile))


async def keep_playing(client: Client, everyone: list[Bot], pace: Pace) -> None:
    """Post sessions at the pace of the hour."""
    rng = Random()  # noqa: S311  chance, no secret
    began = time.monotonic()
    path = f"/v1/games/{pace.game}/sessions"
    due, last, played = 0.0, began, 0
    while not pace.seconds or time.monotonic() - began < pace.seconds:
        now, hour = time.monotonic(), bots.hour_of(datetime.now(UTC))
        due = min(due + (now - last) * pace.rate * bots.rhythm(everyone, hour), pace.rate)
        last = now
        async with asyncio.TaskGroup() as group:
            while due >= 1:
                due -= 1
                played += 1
                group.create_task(post(client, path, bots.play(bots.match(everyone, hour, rng), rng)))
        await asyncio.sleep(TURN)
    console.print(f"{played:,} sessions played")


async def post(client: Client, path: str, results: list[dict[str, object]]) -> None:
    """Post a session; in a demo one that fails is let go."""
    session = {"session_id": str(uuid4()), "mode": "ranked", "results": results}
    try:
        try:
            await client.call("POST", path, session)
        except ConnectionError:  # a connection that was kept has ended; the session counts once
            await client.call("POST", path, session)
    except (OSError, TimeoutError) as error:
        console.print(f"a session was lost: {error}")
