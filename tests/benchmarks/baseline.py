"""The design this leaderboard replaces, as well as it can be done, on the same HTTP stack and servers.

One transaction per submit under SELECT ... FOR UPDATE; ranks persisted, a write shifts a range of them;
a rank that is not cached is counted; cached answers go by one version that every write bumps.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.queries import load

SQL = {name: query.sql for name, query in load(Path(__file__).parent).items()}
VERSION = "baseline:version"
KEPT_SECONDS = 60


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Open the stores."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=8, max_size=8) as pool, redis:
        yield {"pool": pool, "redis": redis}


async def submit(request: Request) -> Response:
    """Record one result and keep everyone's rank right."""
    body = orjson.loads(await request.body())
    result = body["results"][0]
    user_id, gain = result["user_id"], result["score"]
    async with request.state.pool.acquire() as connection, connection.transaction():
        await connection.execute(SQL["lock_board"])
        before = await connection.fetchrow(SQL["lock_player"], user_id)
        await connection.execute(SQL["add_result"], UUID(body["session_id"]), user_id, gain)
        score = before["score"] + gain
        rank = await connection.fetchval(SQL["count_better"], score)
        await connection.execute(SQL["shift"], before["score"], score, user_id)
        await connection.execute(SQL["move"], user_id, score, rank)
    await request.state.redis.incr(VERSION)
    return reply({"user_id": user_id, "score": score, "rank": rank, "previous_rank": before["rank"]}, 201)


async def top(request: Request) -> Response:
    """Answer the first ten."""

    async def read() -> Any:
        return [dict(row) for row in await request.state.pool.fetch(SQL["top"])]

    return await cached(request, "top", read)


async def rank(request: Request) -> Response:
    """Answer one player's rank."""
    user_id = request.path_params["user_id"]

    async def read() -> Any:
        async with request.state.pool.acquire() as connection:
            player = await connection.fetchrow(SQL["player"], user_id)
            place = await connection.fetchval(SQL["count_better"], player["score"])
        return {"rank": place, **dict(player)}

    return await cached(request, user_id, read)


async def cached(request: Request, name: str, read: Callable[[], Awaitable[Any]]) -> Response:
    """Answer from the cache, where the version still holds; else ask Postgres and keep the answer."""
    redis = request.state.redis
    version = (await redis.get(VERSION) or b"0").decode()
    key = f"baseline:{version}:{name}"
    kept = await redis.get(key)
    if kept is None:
        kept = orjson.dumps(await read())
        await redis.set(key, kept, ex=KEPT_SECONDS)
    return Response(kept, media_type="application/json")


def reply(content: Any, status: int) -> Response:
    """Encode an answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


GAME = "/v1/games/bench"
app = Starlette(
    routes=[
        Route(f"{GAME}/sessions", submit, methods=["POST"]),
        Route(f"{GAME}/leaderboards/global/top", top),
        Route(f"{GAME}/leaderboards/global/users/{{user_id}}", rank),
    ],
    lifespan=lifespan,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
