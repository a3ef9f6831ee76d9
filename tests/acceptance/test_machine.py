"""A state machine plays the whole API from several clients; every answer must be one the model can give."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from functools import partial
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, get_state_machine_test, initialize, rule
from redis.asyncio import Redis

from tests.acceptance.players import MINUTES, Players
from tests.acceptance.test_model import BOARDS
from tests.acceptance.world import Minutely
from tests.model import Board
from tests.stack import Stack
from tests.support import wait_until

FREE = ("one", "two", "three")
"""Boards that come, change and go; two others are there from the first to the last."""

SEEDS = st.integers(0, 2**32 - 1)


class Machine(RuleBasedStateMachine):
    """One game in a running stack."""

    def __init__(self, stack: Stack, calls: list[int]) -> None:
        super().__init__()
        self._calls = calls
        self._runner = asyncio.Runner()
        self._redis = Redis.from_url(stack.values["REDIS_URL"])
        self._api = stack.client(timeout=30)
        self.play = Players(self._api, self._redis.flushall, f"/v1/games/machine-{uuid4().hex[:8]}")

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a step to its end."""
        self._runner.run(work)

    @initialize()
    def begin(self) -> None:
        """Make the game."""
        self.do(self._begin())

    async def _begin(self) -> None:
        await self.play.call("PUT", "", 201, body={})
        await self._define("global", Board(min_score=-50))
        await self._define(MINUTES, Minutely("sum", min_score=-50))

    async def _define(self, name: str, board: Board) -> None:
        body: dict[str, Any] = {"operator": board.operator, "order": board.order, "ties": board.ties}
        body |= {"min_score": board.min_score, "modes": board.modes and sorted(board.modes)}
        if isinstance(board, Minutely):
            body["schedule"] = "* * * * *"
        await self.play.call("PUT", f"/leaderboards/{name}", 200, 201, body=body)
        self.play.world.boards[name] = board

        async def is_built() -> bool:
            reply = await self.play.call("GET", f"/leaderboards/{name}", 200, 404, 503)
            found = reply.json()
            return found.get("status") == "ready" and all(found[key] == value for key, value in body.items())

        await wait_until(is_built, timeout=15)

    @rule(seed=SEEDS)
    def side_by_side(self, seed: int) -> None:
        self.do(self.play.burst(random.Random(seed)))

    @rule(seed=SEEDS)
    def side_by_side_again(self, seed: int) -> None:
        self.do(self.play.burst(random.Random(seed)))

    @rule(seed=SEEDS)
    def one_at_a_time(self, seed: int) -> None:
        play, rng = self.play, random.Random(seed)
        self.do(rng.choice([play.erase, play.conflict, play.name, play.archive, play.check])(rng))

    @rule(name=st.sampled_from(FREE), board=st.sampled_from(sorted(BOARDS)))
    def define(self, name: str, board: str) -> None:
        self.do(self._define(name, BOARDS[board]))

    @rule(name=st.sampled_from(FREE))
    def drop(self, name: str) -> None:
        if name in self.play.world.boards:
            self.do(self._drop(name))

    async def _drop(self, name: str) -> None:
        await self.play.call("DELETE", f"/leaderboards/{name}", 204)
        del self.play.world.boards[name]

        async def is_gone() -> bool:
            reply = await self.play.call("GET", f"/leaderboards/{name}", 200, 404)
            return reply.status_code == 404

        await wait_until(is_gone)

    def teardown(self) -> None:
        try:
            self.do(self.play.check())
        finally:
            self.do(self._close())
            self._runner.close()
            self._calls.append(self.play.calls)

    async def _close(self) -> None:
        await self._api.aclose()
        await self._redis.aclose()


def played(stack: Stack, seed: int, *, calls: int, games: int, steps: int) -> None:
    """Play games of so many steps until so many calls were judged."""
    made: list[int] = []
    chosen = settings(
        max_examples=games,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    make: Any = partial(Machine, stack, made)
    while sum(made) < calls:
        hypothesis.seed(seed + len(made))(get_state_machine_test(make, settings=chosen))()


@pytest.mark.timeout(180)
def test_every_answer_is_one_the_model_can_give(stack: Stack, seed: int) -> None:
    played(stack, seed, calls=200, games=4, steps=16)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_so_it_is_ten_thousand_times(stack: Stack, seed: int) -> None:
    played(stack, seed, calls=10_000, games=20, steps=50)
