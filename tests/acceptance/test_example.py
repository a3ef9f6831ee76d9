"""The example on its real input: every player's rank on two statistics, against brute force."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid5

import httpx
import pytest

from deploy import baseball, example
from deploy.baseball import HITS, HOME_RUNS, NAMESPACE, Line, Statistic
from deploy.client import Client
from tests.stack import Stack, surroundings

LEADERS = {"Barry Bonds": "762", "Hank Aaron": "755", "Babe Ruth": "714", "Willie Mays": "660"}

STATISTICS = pytest.mark.parametrize(
    "posted",
    [HOME_RUNS, pytest.param(HITS, marks=pytest.mark.slow)],
    ids=lambda each: each.leaderboard,
    indirect=True,
)


def sessions(statistic: Statistic) -> Iterator[dict[str, Any]]:
    """All lines, up to 1000 in a session, no player twice in one."""
    groups: dict[tuple[int, int], list[Line]] = defaultdict(list)
    for line in baseball.lines(statistic):
        groups[line.year, line.stint].append(line)
    for key, lines in groups.items():
        for start in range(0, len(lines), 1000):
            results = [
                {"user_id": line.player_id, "score": line.value} for line in lines[start : start + 1000]
            ]
            session_id = uuid5(NAMESPACE, f"{statistic.leaderboard} {key} {start}")
            yield {"session_id": str(session_id), "mode": statistic.leaderboard, "results": results}


@cache
def brute_force(statistic: Statistic) -> list[tuple[int, str, int, int]]:
    """Rank, player, total and how many share it, best first."""
    totals: Counter[str] = Counter()
    for line in baseball.lines(statistic):
        totals[line.player_id] += line.value
    sharing = Counter(totals.values())
    places, above = {}, 0
    for total in sorted(sharing, reverse=True):
        places[total] = above + 1
        above += sharing[total]
    ranked = sorted(totals.items(), key=lambda item: (-item[1], item[0].encode()))
    return [(places[total], player, total, sharing[total]) for player, total in ranked]


async def standings(api: httpx.AsyncClient, statistic: Statistic) -> list[tuple[int, str, int, int]]:
    """The whole leaderboard, page by page."""
    found: list[tuple[int, str, int, int]] = []
    while True:
        query = {"limit": 100, "offset": len(found)}
        page = (await api.get(f"{example.boards()}/{statistic.leaderboard}/top", params=query)).json()
        found += [(each["rank"], each["user_id"], each["score"], each["ties"]) for each in page["entries"]]
        if not page["entries"] or len(found) >= page["total"]:
            return found


@pytest.fixture(scope="module")
def posted(stack: Stack, request: pytest.FixtureRequest) -> Statistic:
    """A statistic, every line of it."""
    asyncio.run(post_all(stack, request.param))
    statistic: Statistic = request.param
    return statistic


async def post_all(stack: Stack, statistic: Statistic) -> None:
    async with Client(stack.url, stack.values["ADMIN_KEY"], connections=example.IN_FLIGHT) as client:
        await example.define(client, statistic)
        tally = await example.post(client, sessions(statistic))
        assert tally.replayed == 0


@STATISTICS
async def test_every_player_s_rank_is_what_brute_force_says(
    api: httpx.AsyncClient, posted: Statistic
) -> None:
    expected = brute_force(posted)
    assert len(expected) == 19_898
    assert await standings(api, posted) == expected


@STATISTICS
async def test_a_single_player_s_rank_is_the_same(api: httpx.AsyncClient, posted: Statistic) -> None:
    for rank, player, total, ties in brute_force(posted)[::997]:
        reply = await api.get(f"{example.boards()}/{posted.leaderboard}/users/{player}")
        entry = reply.json()["entry"]
        assert (entry["rank"], entry["score"], entry["ties"]) == (rank, total, ties)


@STATISTICS
async def test_posting_again_changes_nothing(stack: Stack, api: httpx.AsyncClient, posted: Statistic) -> None:
    again = [session for session, _ in zip(sessions(posted), range(50), strict=False)]
    async with Client(stack.url, stack.values["SUBMIT_KEY"], connections=8) as client:
        tally = await example.post(client, again)
    assert (tally.recorded, tally.replayed) == (0, 50)
    assert await standings(api, posted) == brute_force(posted)


@pytest.mark.slow
@pytest.mark.timeout(320)
def test_the_command_prints_the_leaders(tmp_path: Path) -> None:
    """The real thing, with a stack of its own: 108,789 sessions, one a line."""
    command = [sys.executable, "-m", "deploy.cli", "example", "--statistic", "home-runs"]
    environ = {**surroundings(), "LOCAL_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=True)
    assert "108,789 recorded, 0 known already" in done.stdout
    for name, total in LEADERS.items():
        assert any(name in line and total in line for line in done.stdout.splitlines())
