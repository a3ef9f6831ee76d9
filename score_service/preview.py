"""What a changed definition would do: folded from the history, compared, forgotten; nothing is changed."""

from __future__ import annotations

from time import time
from typing import Any

import asyncpg
import msgspec

from score_service.committer import BEYOND, OUT_OF_RANGE
from score_service.definitions import carries, check, columns_of
from score_service.store import SQL
from shared.answers import Move, Preview, PreviewEntry, PreviewSide
from shared.boards import DEFINITION, Game
from shared.errors import LeaderboardError
from shared.messages import LeaderboardIn
from shared.names import MAX_SCORE, season_id
from shared.postgres import Pool, slowly, translated
from shared.ranking import Board
from shared.seasons import ENDLESS, Season, calendar, moment_of

LONGEST = 8.0
"""Seconds a preview may take; a history that needs longer cannot be previewed."""

GRACE = 5.0
"""Seconds Postgres has to say that it took too long."""

TOP = 20
"""Places shown before and after."""

NONE = b"[]"


class Previews:
    """Compares leaderboards with what they would be; one at a time, since each reads the history."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._busy = False

    async def preview(self, game: Game, name: str, body: LeaderboardIn, key_id: str) -> Preview:
        """Say who would move if a leaderboard, which may be new, were defined so; in its current season.

        Raises:
            LeaderboardError: `invalid_request`; `score_total_out_of_range`, it could not be built;
                `deadline_exceeded`, the history is too long; `overloaded`, another preview runs.
        """
        check(body)
        if self._busy:
            raise LeaderboardError("overloaded", "another preview is being made; one at a time")
        self._busy = True
        try:
            answer = await self._compare(game, name, body)
        finally:
            self._busy = False
        with translated():
            await self._pool.execute(SQL["audit"], game.game_id, key_id, "preview", name, None)
        return answer

    async def _compare(self, game: Game, name: str, body: LeaderboardIn) -> Preview:
        board = game.boards.get(name)
        now = int(time())
        is_ready = board is not None and board.status == "ready"
        present = board.season_at(now) if board is not None else ENDLESS
        season = ENDLESS if body.schedule is None else calendar(body.schedule, body.timezone).at(now)
        with translated():
            async with (
                slowly(self._pool, LONGEST + GRACE) as connection,
                connection.transaction(readonly=True),
            ):
                await connection.execute(SQL["no_longer_than"], str(int(LONGEST * 1000)))
                row = await connection.fetchrow(SQL["leaderboard_as_told"], game.game_id, name)
                definition = _row(game, board, row if is_ready else None, body)
                stretch = (
                    (None, None) if season == ENDLESS else (moment_of(season.starts), moment_of(season.ends))
                )
                key = (board.leaderboard_id, board.generation) if board is not None and is_ready else (0, 0)
                ties = board.ties if board is not None else "competition"
                try:
                    found = await connection.fetchrow(
                        SQL["preview"], *key, present.starts, ties, definition, season.starts, *stretch, TOP
                    )
                except asyncpg.QueryCanceledError as error:
                    detail = f"the history is too long to be previewed within {LONGEST:g} s"
                    raise LeaderboardError("deadline_exceeded", detail) from error
                except asyncpg.NumericValueOutOfRangeError as error:
                    raise LeaderboardError(OUT_OF_RANGE, BEYOND) from error
        assert found is not None, "a query without FROM has a row"
        if found["greatest"] > MAX_SCORE:
            raise LeaderboardError(OUT_OF_RANGE, BEYOND)
        return _answer(name, season, found)


def _row(game: Game, board: Board | None, before: Any, body: LeaderboardIn) -> str:
    """Return a definition as a row of leaderboards, in JSON; its one season is given to the fold."""
    definition = columns_of(body)
    keeps = before is not None and carries(before, definition)
    row = dict(zip(DEFINITION, definition, strict=True)) | {
        "leaderboard_id": 0 if board is None else board.leaderboard_id,
        "game_id": game.game_id,
        "generation": before["generation"] if keeps else -1,
        "base_until": str(before["base_until"]) if keeps and before["base_until"].year > 1 else "-infinity",
        "schedule": None,
    }
    return msgspec.json.encode(row).decode()


def _answer(name: str, season: Season, found: Any) -> Preview:
    before, after = (
        PreviewSide(
            found[f"total_{side}"],
            msgspec.json.decode(found[f"top_{side}"] or NONE, type=list[PreviewEntry]),
        )
        for side in ("before", "after")
    )
    rise, fall = (
        None if found[way] is None else msgspec.json.decode(found[way], type=Move) for way in ("rise", "fall")
    )
    return Preview(name, season_id(season.starts), before, after, found["changed"], rise, fall)
