"""A rank_service inside the test: its real routes and state, on real Postgres and Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from starlette.routing import Router

from rank_service.app import State, open_state
from rank_service.routes import routes
from rank_service.settings import Settings
from shared.names import MAX_SCORE
from shared.postgres import Pool
from shared.ranking import Board, Entry
from tests.support import wait_until


class Rank:
    """Asks rank_service over ASGI, without a socket."""

    def __init__(self, state: State, client: httpx.AsyncClient) -> None:
        self.state = state
        self.client = client

    async def get(self, path: str, status: int = 200, **params: Any) -> Any:
        """GET a path below `/v1/games/demo`; return the decoded body after checking the status."""
        reply = await self.client.get(f"/v1/games/demo{path}", params=params or None)
        assert reply.status_code == status, reply.text
        return reply.json()

    async def code(self, path: str, **params: Any) -> str:
        """Return the code of the problem a GET is answered with."""
        reply = await self.client.get(f"/v1/games/demo{path}", params=params or None)
        assert reply.headers["content-type"] == "application/problem+json", reply.text
        return str(reply.json()["code"])

    async def ready(self, leaderboard: str = "global") -> None:
        """Wait until the index answers for a leaderboard."""

        async def from_index() -> bool:
            page = await self.get(f"/leaderboards/{leaderboard}/top", limit=1)
            return bool(page["source"] == "index")

        await wait_until(from_index)


@asynccontextmanager
async def rank_service(database_url: str, redis_url: str, **settings: Any) -> AsyncIterator[Rank]:
    """Open a rank_service for the length of the block."""
    chosen = Settings(database_url=database_url, redis_url=redis_url, **settings)
    async with AsyncExitStack() as stack:
        state = await open_state(chosen, stack)
        router = Router(routes(), redirect_slashes=False)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await router({**scope, "state": state}, receive, send)

        transport = httpx.ASGITransport(app=app)
        client = httpx.AsyncClient(transport=transport, base_url="http://rank")
        yield Rank(state, await stack.enter_async_context(client))


async def put_board(
    pool: Pool,
    leaderboard: str = "global",
    *,
    order: str = "desc",
    ties: str = "competition",
    status: str = "ready",
    schedule: str | None = None,
    index_shards: int = 1,
) -> Board:
    """Define a leaderboard of the game `demo` straight in Postgres."""
    game_id = await pool.fetchval(
        "INSERT INTO games (game) VALUES ('demo') ON CONFLICT (game) DO UPDATE SET title = NULL"
        " RETURNING game_id"
    )
    leaderboard_id = await pool.fetchval(
        "INSERT INTO leaderboards (game_id, leaderboard, operator, sort_order, ties, min_score, max_score,"
        " status, schedule, index_shards) VALUES ($1, $2, 'sum', $3, $4, $5, $6, $7, $8, $9)"
        " RETURNING leaderboard_id",
        *(game_id, leaderboard, order, ties, -MAX_SCORE, MAX_SCORE, status, schedule, index_shards),
    )
    return Board(
        leaderboard_id=leaderboard_id,
        game_id=game_id,
        leaderboard=leaderboard,
        generation=1,
        title=None,
        operator="sum",
        order=order,  # type: ignore[arg-type]
        ties=ties,  # type: ignore[arg-type]
        schedule=schedule,
        timezone="UTC",
        modes=None,
        min_score=-MAX_SCORE,
        max_score=MAX_SCORE,
        status=status,
        index_shards=index_shards,
    )


async def put_entries(
    pool: Pool,
    board: Board,
    scores: Iterable[tuple[str, int]] | Iterable[tuple[str, int, int]],
    season: int = 0,
) -> list[Entry]:
    """Write (user_id, score[, tiebreak]) straight to Postgres; return the entries for an apply."""
    rows = [(*row, 0)[:3] for row in scores]
    ranking = board.ranking(season)
    written = await pool.fetch(
        "INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, tiebreak,"
        " reached_at) SELECT $1, 1, $6, u, s, k, t, 0"
        " FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS new (u, s, k, t)"
        " ON CONFLICT (leaderboard_id, generation, season, user_id) DO UPDATE SET score = excluded.score,"
        " sort_key = excluded.sort_key, tiebreak = excluded.tiebreak, version = nextval('entry_version'),"
        " hidden = false, deleted_at = NULL"
        " RETURNING user_id, version, sort_key, tiebreak",
        board.leaderboard_id,
        [user for user, _, _ in rows],
        [score for _, score, _ in rows],
        [ranking.sort_key(score) for _, score, _ in rows],
        [tiebreak for _, _, tiebreak in rows],
        season,
    )
    return [Entry(*row) for row in written]
