"""Moving in: standings from elsewhere recorded as sessions, in chunks of fixed ids."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from deploy.api import Leaderboard, Refused
from deploy.sources import Source, Standing, Unusable

CHUNK = 1000
"""Results in a session: as many as one may hold."""

IN_FLIGHT = 8

CHANGED = (
    "session_conflict: the source has changed since an import called {!r}, of which a part is recorded. "
    "Where the leaderboard keeps `best` or `latest`, import again under another --name: a score counts once "
    "however often it comes. Elsewhere void those sessions first"
)


class Target(NamedTuple):
    """Where standings go."""

    game: str
    leaderboard: str
    mode: str | None


def session_id(target: Target, name: str, chunk: int) -> UUID:
    """Return the id of a chunk's session: the same for the same import, so it is recorded once."""
    return uuid5(NAMESPACE_URL, f"leaderboard-import:{target.game}/{target.leaderboard}/{name}/{chunk}")


def chunks(standings: list[Standing]) -> Iterator[list[Standing]]:
    """Cut standings, sorted by user, into sessions."""
    for start in range(0, len(standings), CHUNK):
        yield standings[start : start + CHUNK]


async def bring_in(
    api: Leaderboard, source: Source, name: str, target: Target, done: Callable[[int], None] = lambda _: None
) -> None:
    """Record everything; what an earlier, broken-off run of the same name recorded counts once.

    Raises:
        Unusable: the source has changed since a run of the same name.
    """
    left = enumerate(chunks(source.standings))

    async def work() -> None:
        for number, chunk in left:
            results = [{"user_id": user, "score": score} for user, score in chunk]
            key = session_id(target, name, number)
            try:
                await api.submit(target.game, results, session_id=key, mode=target.mode)
            except Refused as error:
                if error.code != "session_conflict":
                    raise
                raise Unusable(CHANGED.format(name)) from error
            done(len(chunk))

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
