"""`make demo`: bots play the demo game for as long as it runs, so that there is something to watch."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
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

BOARDS = {
    "best": {"title": "Best match", "operator": "best", "ties": "first"},
    "played": {"title": "Matches played", "operator": "count", "ties": "dense"},
    "weekly": {"title": "This week", "operator": "sum", "schedule": "weekly"},
    "hourly": {"title": "This hour", "operator": "sum", "schedule": "hourly"},
}
"""Leaderboards of the demo besides `global`."""

console = Console()


@dataclass(frozen=True)
class Pace:
    """How lively it is: bots, sessions a second in an average hour, seconds until the end (0: none)."""

    players: int
    rate: float
    seconds: float


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
        await define(client)
        await introduce(client, everyone)
        await keep_playing(client, everyone, pace)


async def define(client: Client) -> None:
    """Make the leaderboards, but for those whose schedule this version does not have."""
    expect(await client.call("PUT", f"/v1/games/{DEMO}", {"title": "Demo"}), 200, 201)
    for name, body in BOARDS.items():
        known = await client.call("GET", f"/v1/games/{DEMO}/leaderboards/{name}")
        if known.status == 404:
            expect(await client.call("PUT", f"/v1/games/{DEMO}/leaderboards/{name}", body), 200, 201, 422)


async def introduce(client: Client, everyone: list[Bot]) -> None:
    """Give the bots their names and countries."""
    async with asyncio.TaskGroup() as group:
        for bot in everyone:
            profile = {"display_name": bot.name, "country": bot.country}
            group.create_task(client.call("PUT", f"/v1/games/{DEMO}/users/{bot.user_id}", profile))


async def keep_playing(client: Client, everyone: list[Bot], pace: Pace) -> None:
    """Post sessions at the pace of the hour."""
    rng = Random()  # noqa: S311  chance, no secret
    began = time.monotonic()
    due, last, played = 0.0, began, 0
    while not pace.seconds or time.monotonic() - began < pace.seconds:
        now, hour = time.monotonic(), _hour()
        due = min(due + (now - last) * pace.rate * bots.rhythm(everyone, hour), pace.rate)
        last = now
        async with asyncio.TaskGroup() as group:
            while due >= 1:
                due -= 1
                played += 1
                group.create_task(post(client, bots.play(bots.match(everyone, hour, rng), rng)))
        await asyncio.sleep(TURN)
    console.print(f"{played:,} sessions played")


async def post(client: Client, results: list[dict[str, object]]) -> None:
    """Post a session; in a demo one that fails is let go."""
    session = {"session_id": str(uuid4()), "mode": "ranked", "results": results}
    try:
        await client.call("POST", f"/v1/games/{DEMO}/sessions", session)
    except (OSError, TimeoutError) as error:
        console.print(f"a session was lost: {error}")


def _hour() -> float:
    now = datetime.now(UTC)
    return now.hour + now.minute / 60
