"""The invariants, checked on the whole state from outside: history, entries, index and answers.

It shares nothing with the services' own folding: the history is read row by row and given to the model.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from shared.index import LOCK_MS
from shared.names import microseconds
from tests.model import Board, Game, Session, Standing
from tests.support import wait_until


async def history(connection: asyncpg.Connection[Any], game: str) -> Game:
    """Build the model's game from what Postgres holds of definitions, sessions and results."""
    boards = {
        row["leaderboard"]: Board(
            row["operator"],
            row["sort_order"],
            row["ties"],
            None if row["modes"] is None else frozenset(row["modes"]),
            row["min_score"],
            row["max_score"],
        )
        for row in await connection.fetch(
            "SELECT l.* FROM leaderboards l JOIN games g USING (game_id) WHERE g.game = $1", game
        )
    }
    model = Game(boards)
    scores: dict[Any, dict[str, int]] = {}
    rows = await connection.fetch(
        "SELECT r.session_id, r.user_id, r.score FROM session_results r JOIN games g USING (game_id)"
        " WHERE g.game = $1",
        game,
    )
    for session_id, user_id, score in rows:
        assert user_id not in scores.setdefault(session_id, {}), "a result is there twice"
        scores[session_id][user_id] = score
    for row in await connection.fetch(
        "SELECT s.* FROM game_sessions s JOIN games g USING (game_id) WHERE g.game = $1", game
    ):
        session_id = row["session_id"]
        assert session_id not in model.sessions, "a session is there twice"
        played_at = microseconds(row["played_at"])
        model.sessions[session_id] = Session(session_id, scores.pop(session_id), played_at, row["mode"])
        if row["voided_at"] is not None:
            model.voided.add(session_id)
    assert not scores, "results without their session"
    return model


async def entries(connection: asyncpg.Connection[Any], game: str, board: str) -> dict[str, int]:
    """Return what Postgres holds as the entries of a board."""
    rows = await connection.fetch(
        "SELECT e.user_id, e.score FROM entries e JOIN leaderboards l USING (leaderboard_id, generation)"
        " JOIN games g USING (game_id) WHERE g.game = $1 AND l.leaderboard = $2"
        " AND NOT e.hidden AND e.deleted_at IS NULL",
        game,
        board,
    )
    return dict(rows)


async def from_index(api: httpx.AsyncClient, path: str) -> httpx.Response:
    """Read until the index answers: a load may have died with its loader, and its lock must end first."""
    seen: list[str] = []

    async def read() -> httpx.Response | None:
        try:
            reply = await api.get(path)
        except httpx.TransportError as error:
            seen.append(repr(error))
            return None
        seen.append(f"{reply.status_code} {reply.text[:200]}")
        return reply if reply.status_code == 200 and reply.json()["source"] == "index" else None

    try:
        reply: httpx.Response = await wait_until(read, timeout=LOCK_MS / 1000 + 10)
    except pytest.fail.Exception:
        pytest.fail(f"the index does not answer {path}: {seen[-3:]}")
    return reply


async def answered(api: httpx.AsyncClient, game: str, board: str) -> list[Standing]:
    """Return the standings as the index answers them, page by page."""
    lines: list[Standing] = []
    while True:
        path = f"/v1/games/{game}/leaderboards/{board}/top?limit=100&offset={len(lines)}"
        reply = await from_index(api, path)
        found = reply.json()["entries"]
        lines += [Standing(e["rank"], e["user_id"], e["score"], e["ties"]) for e in found]
        if len(found) < 100:
            return lines


async def indexed(connection: asyncpg.Connection[Any], redis: Redis, game: str, board: str) -> dict[str, int]:
    """Return what Redis holds as the ranking of an unscheduled board: its members and their scores."""
    row = await connection.fetchrow(
        "SELECT l.* FROM leaderboards l JOIN games g USING (game_id) WHERE g.game = $1 AND leaderboard = $2",
        game,
        board,
    )
    assert row is not None
    key = f"{{lb:{row['leaderboard_id']}.{row['generation']}.0}}:z"
    sign = -1 if row["sort_order"] == "desc" else 1
    width = 17 if row["ties"] == "first" else 0
    members: list[tuple[bytes, float]] = await redis.zrange(key, 0, -1, withscores=True)  # type: ignore[assignment]
    return {member.decode()[width:]: sign * int(score) for member, score in members}


async def connected(url: str) -> asyncpg.Connection[Any] | None:
    """Connect; None while the server is starting."""
    try:
        return await asyncpg.connect(url)
    except (OSError, asyncpg.PostgresError):
        return None


async def check(values: dict[str, str], api: httpx.AsyncClient, game: str) -> Game:
    """Check that history, entries, index and answers agree, once what is in flight has landed.

    Returns the model of what is recorded.
    """
    connection = await wait_until(lambda: connected(values["DATABASE_URL"]), timeout=30)
    redis = Redis.from_url(values["REDIS_URL"])
    try:
        # What was committed while Redis was away is on its way to the index as long as it is here.
        await wait_until(lambda: connection.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"), timeout=15)
        model = await history(connection, game)
        for board in model.boards:
            expected = model.standings(board)
            scores = {line.user_id: line.score for line in expected}
            assert await entries(connection, game, board) == scores, board
            assert await answered(api, game, board) == expected, board
            assert await indexed(connection, redis, game, board) == scores, board
        return model
    finally:
        await connection.close()
        await redis.aclose()
