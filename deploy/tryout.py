"""Does what is installed here work? Start a stack, submit, read back: `python -m deploy.tryout`."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from deploy.api import Leaderboard
from deploy.borrowed import stack
from deploy.embedded import free_ports


async def play(url: str, key: str) -> int:
    """Submit a score; return the rank that a read then says."""
    async with Leaderboard(url, key) as api:
        await api.submit("demo", {"ada": 120, "bob": 80})
        rank: int = (await api.entry("demo", "global", "bob"))["entry"]["rank"]
        return rank


def main() -> None:
    """Try it, in a folder and on ports of its own."""
    gateway, score, rank = free_ports(3)
    ports = {"GATEWAY_PORT": str(gateway), "SCORE_PORT": str(score), "RANK_PORT": str(rank)}
    with (
        tempfile.TemporaryDirectory(prefix="leaderboard-") as folder,
        stack(Path(folder), {**os.environ, **ports}) as values,
    ):
        found = asyncio.run(play(values["GATEWAY_URL"], values["ADMIN_KEY"]))
        if found != 2:
            raise SystemExit(f"it started, but answered rank {found} where it is 2")
        print(f"{Path(__file__).parent.parent}: it starts, records and ranks")


if __name__ == "__main__":
    main()
