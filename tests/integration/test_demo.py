"""`make demo` on a running stack: bots with names, a day that is over, and matches that go on."""

from __future__ import annotations

from secrets import token_hex

import httpx

from deploy import demo
from tests.stack import Stack


async def test_bots_have_played_and_go_on_playing(stack: Stack, api: httpx.AsyncClient) -> None:
    game = f"g{token_hex(6)}"
    path = f"/v1/games/{game}"
    pace = demo.Pace(players=40, rate=30, seconds=1, game=game)
    await demo.live(stack.url, stack.values["ADMIN_KEY"], pace)
    boards = {
        each["leaderboard"]: each for each in (await api.get(f"{path}/leaderboards")).json()["leaderboards"]
    }
    assert set(boards) == set(demo.BOARDS)
    assert boards["global"]["total"] == 40
    assert boards["sprint"]["total"] > 0
    played = (await api.get(f"{path}/leaderboards/played/top")).json()["entries"]
    assert all(entry["display_name"] and entry["country"] for entry in played)
    newest = (await api.get(f"{path}/sessions", params={"limit": 1})).json()["sessions"][0]
    assert newest["played_at"] >= boards["sprint"]["season"]["starts_at"]

    before = sum(entry["score"] for entry in played)
    await demo.live(stack.url, stack.values["ADMIN_KEY"], demo.Pace(40, 30, 0.2, game))
    again = (await api.get(f"{path}/leaderboards/played/top")).json()["entries"]
    assert sum(entry["score"] for entry in again) < before + demo.EARLIER / 2, "the day before is played once"
