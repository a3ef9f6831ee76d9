"""Moving in: standings from elsewhere recorded as sessions, in chunks, then proved rank by rank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from deploy.api import Leaderboard
from deploy.sources import Source, Standing

CHUNK = 1000
"""Results in a session: as many as one may hold."""

IN_FLIGHT = 8


class Target(NamedTuple):
    """Where standings go."""

    game: str
    leaderboard: str
    mode: str | None


class Proof(NamedTuple):
    """What a comparison of all ranks found."""

    users: int
    missing: list[str]
    strangers: int
    scores: list[str]
    ranks: list[str]
    tied: int

    @property
    def holds(self) -> bool:
        """Whether every user of the source has the same score here, and the rank that it gives."""
        return not (self.missing or self.scores or self.ranks)


def session_id(target: Target, name: str, chunk: int) -> UUID:
    """Return the id of a chunk's session: the same for the same import, so it is recorded once."""
    return uuid5(NAMESPACE_URL, f"leaderboard-import:{target.game}/{target.leaderboard}/{name}/{chunk}")


def chunks(standings: list[Standing]) -> Iterator[list[Standing]]:
    """Cut standings, sorted by user, into sessions."""
    for start in range(0, len(standings), CHUNK):
        yield standings[start : start + CHUNK]


async def bring_in(
    api: Leaderboard, source: Source, target: Target, done: Callable[[int], None] = lambda _: None
) -> None:
    """Record everything; what an earlier, broken-off run recorded counts once.

    Raises:
        Refused: `session_conflict` when the source has changed since a run of the same name.
    """
    left = enumerate(chunks(source.standings))

    async def work() -> None:
        for number, chunk in left:
            results = [{"user_id": user, "score": score} for user, score in chunk]
            name = session_id(target, source.name, number)
            await api.submit(target.game, results, session_id=name, mode=target.mode)
            done(len(chunk))

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())


async def prove(api: Leaderboard, source: Source, target: Target, definition: dict[str, Any]) -> Proof:
    """Compare every user's score and rank here with those the source's scores give."""
    expected = ranked(source.standings, definition)
    missing, scores, ranks = set(expected), [], []
    strangers = tied = 0
    async for entry in api.standings(target.game, target.leaderboard):
        user = entry["user_id"]
        if user not in expected:
            strangers += 1
            continue
        missing.discard(user)
        score, rank = expected[user]
        tied += entry["ties"] > 1
        if entry["score"] != score:
            scores.append(f"{user}: {score} there, {entry['score']} here")
        elif rank is not None and entry["rank"] != rank:
            ranks.append(f"{user}: rank {rank} by the scores there, {entry['rank']} here")
    return Proof(len(expected), sorted(missing), strangers, scores, ranks, tied)


def ranked(standings: list[Standing], definition: dict[str, Any]) -> dict[str, tuple[int, int | None]]:
    """Return everyone's score and the rank it gives under a definition's order and tie rule.

    Under `first`, ranks within a score depend on when it was reached, which no source tells: None where a
    score is shared.
    """
    best_first = sorted(standings, key=lambda each: each[1], reverse=definition["order"] == "desc")
    shared: dict[int, int] = {}
    for _, score in best_first:
        shared[score] = shared.get(score, 0) + 1
    ranks: dict[str, tuple[int, int | None]] = {}
    place: dict[int, int] = {}
    for position, (user, score) in enumerate(best_first, start=1):
        dense = definition["ties"] == "dense"
        rank = place.setdefault(score, len(place) + 1 if dense else position)
        unknown = definition["ties"] == "first" and shared[score] > 1
        ranks[user] = (score, None if unknown else rank)
    return ranks
