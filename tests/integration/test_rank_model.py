"""Every read against the obviously right leaderboard, in every tie policy and order, index or not."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests import model
from tests.rank import rank_service
from tests.score import score_service
from tests.world import World

POLICIES = [(ties, order) for ties in ("competition", "dense", "first") for order in ("desc", "asc")]


@pytest.fixture(params=POLICIES, ids=lambda policy: "-".join(policy))
async def world(
    request: pytest.FixtureRequest, database_url: str, redis_url: str, rng: random.Random
) -> AsyncIterator[World]:
    ties, order = request.param
    async with score_service(database_url, redis_url) as score, rank_service(database_url, redis_url) as rank:
        await score.define(board={"ties": ties, "order": order})
        game = model.Game({"board": model.Board(order=order, ties=ties)})
        yield World(score, rank, game, rng)


async def test_reads_equal_the_model_whatever_happens_to_the_index(world: World, redis: Redis) -> None:
    for _ in range(60):
        await world.play()
        if world.rng.random() < 0.2:
            await redis.flushdb()
        await world.compare()
    assert world.sources == {"index", "database"}


async def test_reads_equal_the_model_without_redis(
    database_url: str, redis_url: str, rng: random.Random
) -> None:
    async with (
        score_service(database_url, redis_url) as score,
        rank_service(database_url, "redis://127.0.0.1:1/0") as rank,
    ):
        await score.define(board={"ties": "dense"})
        world = World(score, rank, model.Game({"board": model.Board(ties="dense")}), rng)
        for _ in range(15):
            await world.play()
            await world.compare()
        assert world.sources == {"database"}
