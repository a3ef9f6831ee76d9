"""The two services and the obviously right leaderboard, told the same things and asked the same questions."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.messages import SessionOut
from shared.names import microseconds, uuid7
from tests import model
from tests.rank import Rank, rank_service
from tests.score import Score, score_service

USERS = [f"u{i}" for i in range(25)]
SHARDS = 4
START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """The two services and the model, told the same things."""

    def __init__(self, score: Score, rank: Rank, game: model.Game, rng: random.Random) -> None:
        self.score, self.rank, self.game, self.rng = score, rank, game, rng
        self.sources: set[str] = set()

    async def play(self) -> SessionOut:
        """Post a random session; return the answer."""
        rng = self.rng
        scores = {user: rng.randint(0, 6) for user in rng.sample(USERS, rng.randint(1, 4))}
        played_at = START + timedelta(seconds=rng.randrange(1000))
        session = model.Session(uuid7(), scores, microseconds(played_at))
        assert self.game.record(session) == "recorded"
        answer, _ = await self.score.post(
            *scores.items(), session_id=str(session.session_id), played_at=played_at.isoformat()
        )
        return answer

    async def disturb(self) -> None:
        """Make a random session void, or ban a random user, or lift the ban."""
        game, moderation = await self.score.state["games"].get("demo"), self.score.state["moderation"]
        if self.rng.random() < 0.5:
            session_id = self.rng.choice(list(self.game.sessions))
            self.game.voided.add(session_id)
            await moderation.void(game, str(session_id), "cheated", "")
            return
        user = self.rng.choice(self.game.users())
        if user in self.game.banned:
            self.game.banned.remove(user)
            await moderation.unban(game, user, "")
        else:
            self.game.banned.add(user)
            await moderation.ban(game, user, None, "")

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """Read from the board; note where the answer came from."""
        answer = await self.rank.get(f"/leaderboards/board{path}", status, **params)
        if status == 200:
            self.sources.add(answer["source"])
            assert answer["total"] == len(self.game.standings("board"))
        return answer

    async def compare(self) -> None:
        """Ask every kind of question at random; compare with the model."""
        rng, lines = self.rng, self.game.standings("board")
        offset, limit, radius = rng.randrange(30), rng.randint(1, 30), rng.randint(1, 10)
        page = await self.get("/top", offset=offset, limit=limit)
        assert page["entries"] == [shown(line) for line in lines[offset : offset + limit]]
        await self.compare_user(rng.choice(USERS), lines, radius)
        await self.compare_scores(lines)

    async def compare_user(self, user: str, lines: list[model.Standing], radius: int) -> None:
        own = next((i for i, line in enumerate(lines) if line.user_id == user), None)
        if own is None:
            assert (await self.get(f"/users/{user}", 404))["code"] == "entry_not_found"
            assert (await self.get(f"/users/{user}/around", 404))["code"] == "entry_not_found"
            return
        board = self.game.boards["board"]
        worse_or_equal = [
            line for line in lines if line.score == lines[own].score or not better(board, line, lines[own])
        ]
        single = {
            **shown(lines[own]),
            "percentile": 100 * len(worse_or_equal) / len(lines),
            "rank_change": None,
        }
        assert (await self.get(f"/users/{user}"))["entry"] == pytest.approx(single)
        around = await self.get(f"/users/{user}/around", radius=radius)
        assert around["entry"] == pytest.approx(single)
        assert around["entries"] == [shown(line) for line in lines[max(0, own - radius) : own + radius + 1]]

    async def compare_scores(self, lines: list[model.Standing]) -> None:
        wanted = self.rng.sample([*USERS, "nobody"], 8)
        reply = await self.rank.client.post(
            "/v1/games/demo/leaderboards/board/lookup", json={"user_ids": wanted}
        )
        assert reply.json()["entries"] == [shown(line) for line in lines if line.user_id in wanted]
        ranked = {line.user_id for line in lines}
        assert reply.json()["missing"] == [user for user in wanted if user not in ranked]
        buckets = (await self.get("/distribution", buckets=self.rng.randint(1, 9)))["buckets"]
        counted = [sum(low <= line.score <= high for line in lines) for low, high in map(ends, buckets)]
        assert [bucket["count"] for bucket in buckets] == counted
        assert sum(counted) == len(lines)
        assert all(low["to"] + 1 == high["from"] for low, high in pairwise(buckets))
        await self.compare_what_if(lines, self.rng.randint(-3, 30))

    async def compare_what_if(self, lines: list[model.Standing], score: int) -> None:
        board = self.game.boards["board"]
        supposed = model.Standing(0, "", score, 0)
        ahead = [line.score for line in lines if better(board, line, supposed)]
        sharing = sum(line.score == score for line in lines)
        expected = {"competition": len(ahead), "dense": len(set(ahead)), "first": len(ahead) + sharing}
        answer = await self.get("/rank", score=score)
        assert (answer["rank"], answer["ties"]) == (expected[board.ties] + 1, sharing)


def better(board: model.Board, line: model.Standing, than: model.Standing) -> bool:
    return line.score > than.score if board.order == "desc" else line.score < than.score


def ends(bucket: dict[str, int]) -> tuple[int, int]:
    return bucket["from"], bucket["to"]


def shown(line: model.Standing) -> dict[str, Any]:
    return {**line._asdict(), "display_name": None, "country": None}


@asynccontextmanager
async def world_on(database_url: str, redis_url: str, rng: random.Random) -> AsyncIterator[World]:
    """Both services and the model, with one board in shards."""
    order = rng.choice(["desc", "asc"])
    async with score_service(database_url, redis_url) as score, rank_service(database_url, redis_url) as rank:
        await score.define(board={"order": order, "index_shards": SHARDS})
        yield World(score, rank, model.Game({"board": model.Board(order=order)}), rng)  # type: ignore[arg-type]


async def play_and_compare(world: World, rounds: int, now_and_then: Callable[[], Awaitable[Any]]) -> None:
    """Change things at random; every read, and every rank in an answer, must be the model's."""
    told = 0
    for _ in range(rounds):
        before = {line.user_id: line for line in world.game.standings("board")}
        answer = await world.play()
        told += compare_answer(answer, before, {line.user_id: line for line in world.game.standings("board")})
        if world.rng.random() < 0.2:
            await world.disturb()
        if world.rng.random() < 0.15:
            await now_and_then()
        await world.compare()
    assert told > 0, "no answer told a rank"
    assert world.sources == {"index", "database"}


def compare_answer(
    answer: SessionOut, before: dict[str, model.Standing], after: dict[str, model.Standing]
) -> int:
    """Compare the ranks a recorded session is answered with, as far as they are told; return how many."""
    told = 0
    for result in answer.results:
        (entry,) = (each for each in result.entries if each.leaderboard == "board")
        if entry.rank is None:
            continue
        line, was = after[result.user_id], before.get(result.user_id)
        assert (entry.rank, entry.ties, entry.score) == (line.rank, line.ties, line.score)
        if entry.previous_rank is not None:
            assert was is not None
            assert entry.previous_rank == was.rank
            told += 1
    return told
