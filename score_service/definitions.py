"""Games and leaderboards as the studio defines them; every change takes the game's gate alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import asyncpg
import msgspec

from score_service import webhooks
from score_service.store import SQL
from shared.boards import Game, Games
from shared.errors import LeaderboardError, StoreUnavailable, invalid, not_found
from shared.events import RulesChanged, publish
from shared.messages import GameIn, GameOut, LeaderboardDefined, LeaderboardIn, LeaderboardOut
from shared.names import MAX_SCORE, clean, is_slug
from shared.postgres import Connection, Pool, slowly, translated
from shared.seasons import calendar, schedule_fault, timezone_fault
from shared.wire import Line

log = logging.getLogger(__name__)

FOLDING = ("operator", "sort_order", "ties", "schedule", "timezone", "modes")
"""What a board's entries depend on: changed, the board is folded anew as the next generation."""


MAX_SEASONS = 250_000
"""Seasons a board may have when it is folded from its history: 28 years of hours."""


class Definitions:
    """Creates, changes and drops games and leaderboards.

    Args:
        line: where events go, so that other replicas look at once and not within a second.
        grace: how long after its end a season takes late results.
    """

    def __init__(self, pool: Pool, games: Games, line: Line, *, grace: timedelta) -> None:
        self._pool = pool
        self._games = games
        self._line = line
        self._grace = grace

    async def put_game(self, name: str, body: GameIn, key_id: str = "") -> tuple[GameOut, bool]:
        """Create a game with its leaderboard `global`, or rename it; return it and whether it is new.

        What changes something is audited, here and below, in the transaction that changes it.

        Raises:
            LeaderboardError: `invalid_request`, the id breaks its rule.
        """
        if not is_slug(name):
            raise invalid("game", f"{clean(name)!r} must match [a-z0-9][a-z0-9_-]{{0,63}}")
        async with self._transaction() as connection:
            known = await connection.fetchrow(SQL["game_as_it_is"], name)
            if known is not None:
                await connection.execute(SQL["gate_exclusively"], known["game_id"])
                known = await connection.fetchrow(SQL["game_as_it_is"], name)
            row = await connection.fetchrow(SQL["put_game"], name, body.title)
            assert row is not None
            if row["is_new"]:
                board = LeaderboardIn()
                await connection.fetchrow(
                    SQL["insert_leaderboard"], row["game_id"], "global", *_definition(board)
                )
            if action := _game_action(known, row):
                await connection.execute(SQL["audit"], row["game_id"], key_id, action, name, None)
        await self._changed(name)
        return _game(row), row["is_new"]

    async def list_games(self, after: str, limit: int) -> list[GameOut]:
        """Return a page of games in id order, those after `after`."""
        with translated():
            return [_game(row) for row in await self._pool.fetch(SQL["list_games"], after, limit)]

    async def archive_game(self, game: Game, key_id: str = "") -> GameOut:
        """Hide a game: it refuses writes and reads until it is put again."""
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            row = await connection.fetchrow(SQL["archive_game"], game.game_id)
            await connection.execute(SQL["audit"], game.game_id, key_id, "archive_game", game.game, None)
        await self._changed(game.game)
        return _game(row)

    async def put_leaderboard(
        self, game: Game, name: str, body: LeaderboardIn, key_id: str = ""
    ) -> tuple[LeaderboardDefined, bool]:
        """Create or replace a leaderboard, folded from all recorded sessions.

        Returns it and whether it is new.

        Raises:
            LeaderboardError: `invalid_request`; `score_total_out_of_range` when a total would be.
        """
        if not is_slug(name):
            raise invalid("leaderboard", f"{clean(name)!r} must match [a-z0-9][a-z0-9_-]{{0,63}}")
        _check(body)
        definition = _definition(body)
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            before = await connection.fetchrow(SQL["leaderboard"], game.game_id, name)
            if before is None:
                row = await connection.fetchrow(SQL["insert_leaderboard"], game.game_id, name, *definition)
                await open_seasons(connection, row, self._grace)
                await _fold(connection, row)
            else:
                row = await self._replace(connection, before, definition)
            await connection.execute(SQL["bump_rules"], game.game_id)
            hooked = await webhooks.put(connection, game.game_id, name, body.webhook)
            if hooked or before is None or leaderboard(before) != leaderboard(row):
                action = "define" if before is None else "redefine"
                await connection.execute(SQL["audit"], game.game_id, key_id, action, name, None)
            url = await connection.fetchval(SQL["webhook_of_leaderboard"], game.game_id, name)
        await self._changed(game.game)
        return LeaderboardDefined(**msgspec.structs.asdict(leaderboard(row)), webhook=url), before is None

    async def drop_leaderboard(self, game: Game, name: str, key_id: str = "") -> None:
        """Drop a leaderboard; the history stays.

        Raises:
            LeaderboardError: `leaderboard_not_found`.
        """
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            row = await connection.fetchrow(SQL["drop_leaderboard"], game.game_id, name)
            if row is None:
                raise not_found("leaderboard", f"{game.game} has no leaderboard {clean(name)!r}")
            await connection.execute(SQL["discard_entries"], row["leaderboard_id"], row["generation"])
            await connection.execute(SQL["bump_rules"], game.game_id)
            await connection.execute(SQL["audit"], game.game_id, key_id, "drop", name, None)
        await self._changed(game.game)

    async def _replace(self, connection: Connection, before: Any, definition: tuple[Any, ...]) -> Any:
        generation = before["generation"]
        row = await connection.fetchrow(
            SQL["replace_leaderboard"], before["game_id"], before["leaderboard"], *definition, generation
        )
        if row is not None and any(row[column] != before[column] for column in FOLDING):
            row = await connection.fetchrow(
                SQL["replace_leaderboard"],
                before["game_id"],
                before["leaderboard"],
                *definition,
                generation + 1,
            )
            assert row is not None, "the gate keeps the row"
            if _same_contributions(before, row):
                await connection.execute(SQL["carry_base"], before["leaderboard_id"], generation)
                await connection.execute(SQL["carry_seasons"], before["leaderboard_id"], generation)
            else:
                await connection.execute(SQL["set_base_until"], before["leaderboard_id"], date.min)
                await open_seasons(connection, row, self._grace)
            await connection.execute(SQL["discard_entries"], before["leaderboard_id"], generation)
            await _fold(connection, row)
        return row

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with translated():
            async with slowly(self._pool) as connection, connection.transaction():
                yield connection

    async def _changed(self, game: str) -> None:
        """Have the change seen at once; without Redis the others find out within a second."""
        self._games.forget(game)
        try:
            await self._line.send([publish(RulesChanged(game))])
        except StoreUnavailable as error:
            log.warning("a change of rules was not published: %s", error, extra={"game": game})


def leaderboard(row: Any) -> LeaderboardOut:
    """Build the public form of a definition from its row."""
    return LeaderboardOut(
        leaderboard=row["leaderboard"],
        title=row["title"],
        operator=row["operator"],
        order=row["sort_order"],
        ties=row["ties"],
        schedule=row["schedule"],
        timezone=row["timezone"],
        modes=None if row["modes"] is None else tuple(row["modes"]),
        min_score=row["min_score"],
        max_score=row["max_score"],
        index_shards=row["index_shards"],
        status=row["status"],
    )


async def open_seasons(connection: Connection, row: Any, grace: timedelta) -> None:
    """Give a scheduled board's generation the seasons its history was recorded in, under the gate.

    Raises:
        LeaderboardError: `invalid_request`, there would be too many.
    """
    if row["schedule"] is None:
        return
    days = [each["day"] for each in await connection.fetch(SQL["days_of_history"], row["game_id"])]
    # A century of hours takes seconds to reckon: others go on meanwhile.
    on = calendar(row["schedule"], row["timezone"]).on
    seasons = await asyncio.to_thread(on, days, MAX_SEASONS)
    if len(seasons) > MAX_SEASONS:
        raise invalid("schedule", f"makes more than {MAX_SEASONS} seasons of the recorded history")
    starts, ends = ([season[i] for season in seasons] for i in (0, 1))
    await connection.execute(SQL["open_seasons_of_history"], row["leaderboard_id"], starts, ends, grace)


async def _fold(connection: Connection, row: Any) -> None:
    """Fold the whole history into a board's entries, under the gate."""
    try:
        await connection.execute(SQL["fold_entries"], row["leaderboard_id"])
        beyond = await connection.fetchval(
            SQL["fold_out_of_range"], row["leaderboard_id"], row["generation"], MAX_SCORE
        )
    except asyncpg.NumericValueOutOfRangeError:
        beyond = 1
    if beyond:
        detail = f"the history holds totals past {MAX_SCORE} in magnitude for this definition"
        raise LeaderboardError("score_total_out_of_range", detail)


def _same_contributions(before: Any, after: Any) -> bool:
    """Say whether results add the same to both; what retention took out of the history is then kept."""
    same_choice = after["operator"] != "best" or after["sort_order"] == before["sort_order"]
    same = ("operator", "modes", "schedule", "timezone")
    return same_choice and all(after[column] == before[column] for column in same)


def _definition(body: LeaderboardIn) -> tuple[Any, ...]:
    modes = None if body.modes is None else sorted(set(body.modes))
    return (
        body.title,
        body.operator,
        body.order,
        body.ties,
        body.schedule,
        body.timezone,
        modes,
        body.min_score,
        body.max_score,
        body.index_shards,
    )


def _check(body: LeaderboardIn) -> None:
    if body.min_score > body.max_score:
        raise invalid("min_score", f"{body.min_score} must not be above max_score {body.max_score}")
    if body.index_shards > 1 and body.ties != "competition":
        raise invalid("index_shards", "more than 1 needs ties 'competition'")
    if body.schedule is not None and (fault := schedule_fault(body.schedule)) is not None:
        raise invalid("schedule", fault)
    if (fault := timezone_fault(body.timezone)) is not None:
        raise invalid("timezone", fault)


def _game_action(before: Any, after: Any) -> str | None:
    """Return what the audit calls a change of a game; None when nothing changed."""
    if before is None:
        return "create_game"
    if before["archived_at"] is not None:
        return "restore_game"
    return None if before["title"] == after["title"] else "rename_game"


def _game(row: Any) -> GameOut:
    return GameOut(row["game"], row["title"], row["created_at"], row["archived_at"])
