"""Clocks that jump an hour, forth and back, around the end of a season: every answer stays true."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from score_service.migrations import migrate
from tests.faults.clock import Clock, postgres_by
from tests.faults.fleet import Fleet, running
from tests.servers import scratch_folder, with_path
from tests.support import wait_until

HOUR = 3600
GAME, BOARD = "/v1/games/clocks", "/v1/games/clocks/leaderboards/hourly"
USERS = [f"u{n}" for n in range(8)]

JUMPS = {"the services": (True, False), "Postgres": (False, True), "everyone": (True, True)}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Postgres' user may look into too."""
    with scratch_folder() as folder:
        folder.chmod(0o755)
        yield folder


class Hourly:
    """Plays a board with a season an hour, and keeps what answers said counts in which season."""

    def __init__(self, api: httpx.AsyncClient, rng: random.Random) -> None:
        self.api = api
        self._rng = rng
        self.counted: dict[str, Counter[str]] = {}
        self.closed = 0

    async def play(self, sessions: int = 15) -> None:
        """Record sessions that are played now, whenever that is."""
        for _ in range(sessions):
            results = [
                {"user_id": user, "score": self._rng.randrange(1, 9)} for user in self._rng.sample(USERS, 2)
            ]
            reply = await self.api.post(f"{GAME}/sessions", json={"results": results})
            assert reply.status_code == 201, reply.text
            for result in reply.json()["results"]:
                self._count(result)

    def _count(self, result: dict[str, Any]) -> None:
        (entry,) = [each for each in result["entries"] if each["leaderboard"] == "hourly"]
        if entry["season"] is None:
            assert entry["reason"] == "season_closed"
            self.closed += 1
            return
        self.counted.setdefault(entry["season"], Counter())[result["user_id"]] += result["score"]
        assert entry["score"] == self.counted[entry["season"]][result["user_id"]]

    async def check(self) -> None:
        """Compare every season with what was answered."""
        for season, scores in self.counted.items():
            reply = await self.api.get(f"{BOARD}/top?season={season}&limit=100")
            assert reply.status_code == 200, reply.text
            assert {entry["user_id"]: entry["score"] for entry in reply.json()["entries"]} == scores, season

    async def sealed(self) -> dict[str, str]:
        """Return the digests of the sealed seasons."""
        seasons = (await self.api.get(f"{BOARD}/seasons")).json()["seasons"]
        return {each["id"]: each["digest"] for each in seasons if each["status"] == "sealed"}


class Times:
    """The clocks of services and Postgres, each to be set by itself, and how late it is by them."""

    def __init__(self, folder: Path) -> None:
        self.services, self.postgres = Clock(folder / "services"), Clock(folder / "postgres.clock")

    async def jump(self, who: str, seconds: int, api: httpx.AsyncClient, url: str) -> None:
        """Set the clocks of `who`; wait until they go by it."""
        services, postgres = JUMPS[who]
        if services:
            self.services.ahead(seconds)
        if postgres:
            self.postgres.ahead(seconds)
        connection = await asyncpg.connect(url)

        async def has_jumped() -> bool:
            there = (await api.get(f"{BOARD}/top")).json()["as_of"]
            here = await connection.fetchval("SELECT clock_timestamp()")
            real = datetime.now(here.tzinfo)
            told = [(datetime.fromisoformat(there) - real).total_seconds(), (here - real).total_seconds()]
            wanted = [seconds * services, seconds * postgres]
            return all(abs(a - b) < 60 for a, b in zip(told, wanted, strict=True))

        await wait_until(has_jumped, timeout=20)
        await connection.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("who", JUMPS)
async def test_seasons_stay_true_while_clocks_jump(
    who: str, folder: Path, redis_url: str, rng: random.Random
) -> None:
    times = Times(folder)
    with postgres_by(times.postgres, folder) as admin:
        url = with_path(admin, "postgres")
        await asyncio.to_thread(migrate, url)
        fleet = Fleet(folder, url, redis_url, each=1, SEASON_GRACE_SECONDS="0")
        for replica in (*fleet.score, *fleet.rank):
            replica.sets(times.services.environ)
        async with running(*fleet.replicas), fleet.client() as api:
            await api.put(GAME, json={})
            assert (await api.put(BOARD, json={"schedule": "hourly"})).status_code == 201
            hourly = Hourly(api, rng)
            for ahead in (0, HOUR, 0, HOUR, 0):
                await times.jump(who, ahead, api, url)
                await hourly.play()
                await hourly.check()
            await times.jump("everyone", 3 * HOUR, api, url)

            async def all_sealed() -> bool:
                return (await hourly.sealed()).keys() >= hourly.counted.keys()

            await wait_until(all_sealed, timeout=30)
            await hourly.check()
            digests = await hourly.sealed()
            await times.jump("everyone", 0, api, url)
            await hourly.play()
            await hourly.check()
            await times.jump("everyone", 3 * HOUR, api, url)
            await wait_until(lambda: has_sealed(hourly, digests))
            await hourly.check()


async def has_sealed(hourly: Hourly, digests: dict[str, str]) -> bool:
    """Say whether these seasons are told as sealed, and the same as before."""
    found = await hourly.sealed()
    assert all(digests[season] == digest for season, digest in found.items())
    return found == digests
