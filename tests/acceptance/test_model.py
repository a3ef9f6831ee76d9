"""The whole stack against the obviously right leaderboard, under random play from many clients."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import httpx

from shared.names import microseconds, uuid7
from tests.model import Board, Game, Session, Standing

USERS = [f"u{n}" for n in range(30)]
BOARDS: dict[str, Board] = {
    f"{operator}-{order}-{ties}": Board(operator, order, ties, modes=modes, min_score=-50)  # type: ignore[arg-type]
    for (operator, order, ties), modes in zip(
        product(("sum", "best", "latest", "count"), ("desc", "asc"), ("competition", "dense", "first")),
        [None, frozenset({"ranked"})] * 12,
        strict=True,
    )
}


async def make_game(api: httpx.AsyncClient, boards: dict[str, Board]) -> str:
    path = f"/v1/games/model-{uuid4().hex[:8]}"
    await api.put(path, json={})
    for name, board in boards.items():
        body = {"operator": board.operator, "order": board.order, "ties": board.ties}
        modes = None if board.modes is None else sorted(board.modes)
        reply = await api.put(
            f"{path}/leaderboards/{name}", json={**body, "modes": modes, "min_score": board.min_score}
        )
        assert reply.status_code in (200, 201), reply.text
    return path


def random_session(rng: random.Random) -> dict[str, Any]:
    results = [
        {"user_id": user, "score": rng.randrange(-3, 12)} for user in rng.sample(USERS, rng.randint(1, 6))
    ]
    return {
        "session_id": str(uuid7()),
        "mode": rng.choice(["ranked", "casual"]),
        "played_at": f"2026-11-01T00:00:{rng.randrange(20):02}Z",
        "results": results,
    }


def record(model: Game, body: dict[str, Any], played_at: str) -> str:
    scores = {result["user_id"]: result["score"] for result in body["results"]}
    at = microseconds(datetime.fromisoformat(played_at))
    return model.record(Session(UUID(body["session_id"]), scores, at, body["mode"]))


async def standings(api: httpx.AsyncClient, path: str, board: str) -> list[Standing]:
    found = (await api.get(f"{path}/leaderboards/{board}/top?limit=100")).json()
    assert found["total"] == len(found["entries"])
    return [Standing(e["rank"], e["user_id"], e["score"], e["ties"]) for e in found["entries"]]


async def test_every_board_is_as_the_model_says_after_every_round(
    api: httpx.AsyncClient, rng: random.Random
) -> None:
    boards = {**BOARDS, "global": Board(min_score=-50)}
    path = await make_game(api, boards)
    model = Game(boards)
    bodies: list[dict[str, Any]] = []
    for _ in range(4):
        fresh = [random_session(rng) for _ in range(25)]
        again = rng.sample(bodies, min(len(bodies), 5))
        replies = await asyncio.gather(
            *(api.post(f"{path}/sessions", json=body) for body in [*fresh, *again, *fresh[:3]])
        )
        assert sorted(reply.status_code for reply in replies) == [200] * (len(again) + 3) + [201] * 25
        for body in fresh:
            assert record(model, body, body["played_at"]) == "recorded"
        bodies += fresh
        for name in boards:
            assert await standings(api, path, name) == model.standings(name), name


async def test_entries_and_neighbours_are_as_the_model_says(
    api: httpx.AsyncClient, rng: random.Random
) -> None:
    boards = {name: BOARDS[name] for name in rng.sample(sorted(BOARDS), 4)}
    path = await make_game(api, boards)
    model = Game({**boards, "global": Board()})
    for _ in range(15):
        body = random_session(rng)
        reply = await api.post(f"{path}/sessions", json=body)
        outcome = record(model, body, body["played_at"])
        assert reply.status_code == (201 if outcome == "recorded" else 422), reply.text
    for name in boards:
        lines = model.standings(name)
        by_user = {line.user_id: i for i, line in enumerate(lines)}
        for user in USERS:
            radius = rng.randint(1, 50)
            reply = await api.get(f"{path}/leaderboards/{name}/users/{user}/around?radius={radius}")
            if user not in by_user:
                assert (reply.status_code, reply.json()["code"]) == (404, "entry_not_found")
                continue
            at = by_user[user]
            found = [(e["rank"], e["user_id"], e["score"], e["ties"]) for e in reply.json()["entries"]]
            assert found == lines[max(0, at - radius) : at + radius + 1]
            single = (await api.get(f"{path}/leaderboards/{name}/users/{user}")).json()["entry"]
            better = sum(line.rank < lines[at].rank and line.score != lines[at].score for line in lines)
            assert (single["rank"], single["ties"]) == (lines[at].rank, lines[at].ties)
            assert abs(single["percentile"] - 100 * (len(lines) - better) / len(lines)) < 0.01


async def test_an_answered_session_is_seen_by_every_later_read(api: httpx.AsyncClient) -> None:
    path = await make_game(api, {})

    async def play(user: str, leader: bool) -> None:
        total = 0
        for n in range(1, 60):
            total += n if not leader else 10_000
            body = {"results": [{"user_id": user, "score": n if not leader else 10_000}]}
            answer = (await api.post(f"{path}/sessions", json=body)).json()
            assert answer["results"][0]["entries"][0]["score"] == total
            entry, top = await asyncio.gather(
                api.get(f"{path}/leaderboards/global/users/{user}"),
                api.get(f"{path}/leaderboards/global/top"),
            )
            assert entry.json()["entry"]["score"] == total
            assert {e["user_id"]: e["score"] for e in top.json()["entries"]}[user] == total

    await asyncio.gather(*(play(f"u{n}", n == 0) for n in range(8)))
