"""Games and leaderboards as the studio defines them; every change takes the game's gate alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from score_service import webhooks
from score_service.building import Builder, announce
from score_service.store import SQL
from shared.boards import DEFINITION, Game, Games, board_with_build, outline
from shared.errors import LeaderboardError, invalid, not_found
from shared.messages import GameIn, GameOut, LeaderboardDefined, LeaderboardIn, LeaderboardOut
from shared.names import clean, is_slug
from shared.postgres import Connection, Pool, slowly, translated
from shared.seasons import schedule_fault, timezone_fault
from shared.wire import Line

log = logging.getLogger(__name__)

FOLDING = DEFINITION[1:-1]
"""What a board's entries depend on: changed, the board is built anew as the next generation."""


class Definitions:
    """Creates, changes and drops games and leaderboards.

    Args:
        line: where events go, so that other replicas look at once and not within a second.
        builder: folds the history into what is defined.
        patience: seconds an answer waits for a board to be built.
    """

    def __init__(self, pool: Pool, games: Games, line: Line, builder: Builder, *, patience: float) -> None:
        self._pool = pool
        self._games = games
        self._line = line
        self._builder = builder
        self._patience = patience

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
                    SQL["insert_leaderboard"], row["game_id"], "global", *columns_of(board), "ready"
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
        """Create or replace a leaderboard, folded from all recorded sessions in the background.

        Returns it as it was put, and whether it is new: ready if that does not take longer than patience.

        Raises:
            LeaderboardError: `invalid_request`; `score_total_out_of_range` when a total would be, if that
                shows in time.
        """
        if not is_slug(name):
            raise invalid("leaderboard", f"{clean(name)!r} must match [a-z0-9][a-z0-9_-]{{0,63}}")
        check(body)
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            before = await connection.fetchrow(SQL["leaderboard"], game.game_id, name)
            changed = await self._put(connection, game, name, before, columns_of(body))
            await connection.execute(SQL["bump_rules"], game.game_id)
            hooked = await webhooks.put(connection, game.game_id, name, body.webhook)
            if changed or hooked:
                action = "define" if before is None else "redefine"
                await connection.execute(SQL["audit"], game.game_id, key_id, action, name, None)
        await self._changed(game.game)
        return await self._settled(game, name, key_id), before is None

    async def _put(
        self, connection: Connection, game: Game, name: str, before: Any, definition: tuple[Any, ...]
    ) -> bool:
        """Put a definition: in force where nothing has to be folded; return whether that changed anything."""
        if before is None:
            has_history = await connection.fetchval(SQL["has_history"], game.game_id, 0)
            status = "building" if has_history else "ready"
            row = await connection.fetchrow(
                SQL["insert_leaderboard"], game.game_id, name, *definition, status
            )
            if has_history:
                await _start(connection, row, definition, carries=False)
            return True
        board, is_ready = before["leaderboard_id"], before["status"] == "ready"
        build = await connection.fetchrow(SQL["build_of_leaderboard"], board)
        if build is not None and build["failure_code"] is None and _same(FOLDING, build, definition):
            await connection.execute(SQL["retitle_build"], board, definition[0], definition[-1])
            return not _same(DEFINITION, build, definition)
        if is_ready and _same(FOLDING, before, definition):
            # Back to what is in force: what was on its way is not wanted any more.
            await _cancel(connection, board)
            await connection.execute(SQL["replace_leaderboard"], game.game_id, name, *definition)
            return build is not None or not _same(DEFINITION, before, definition)
        has_history = await connection.fetchval(SQL["has_history"], game.game_id, board)
        if not is_ready or not has_history:  # nobody reads by this row, or there is nothing to read
            await connection.execute(SQL["replace_leaderboard"], game.game_id, name, *definition)
        if is_ready and not has_history:
            await _cancel(connection, board)
            generation = await connection.fetchval(SQL["next_generation"], board)
            await connection.execute(SQL["discard_generation"], board, before["generation"])
            await connection.execute(SQL["skip_to_generation"], board, generation)
        else:
            kept = is_ready and carries(before, definition)
            await _start(connection, before, definition, carries=kept)
        return True

    async def rebuild_leaderboard(self, game: Game, name: str, key_id: str = "") -> LeaderboardOut:
        """Fold a leaderboard from its history once more, by its own definition, as the next generation.

        One that is being built goes on being built; one that could not be is tried again.

        Raises:
            LeaderboardError: `leaderboard_not_found`.
        """
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            before = await connection.fetchrow(SQL["leaderboard"], game.game_id, name)
            if before is None:
                raise not_found("leaderboard", f"{game.game} has no leaderboard {clean(name)!r}")
            build = await connection.fetchrow(SQL["build_of_leaderboard"], before["leaderboard_id"])
            if build is None or build["failure_code"] is not None:
                definition = tuple(before[column] for column in DEFINITION)
                await _start(connection, before, definition, carries=before["status"] == "ready")
                await connection.execute(SQL["bump_rules"], game.game_id)
                await connection.execute(SQL["audit"], game.game_id, key_id, "rebuild", name, None)
        await self._changed(game.game)
        return await self._told(game, name)

    async def _settled(self, game: Game, name: str, key_id: str) -> LeaderboardDefined:
        """Give a build a moment; return the definition as it was put.

        Raises:
            LeaderboardError: it turned out that the board cannot be built; nothing is left of the try.
        """
        with translated():
            row = await self._pool.fetchrow(SQL["leaderboard_as_told"], game.game_id, name)
            if row is not None and row["next_generation"] is not None:
                board = row["leaderboard_id"], row["next_generation"]
                await self._builder.settle(*board, self._patience)
                row = await self._pool.fetchrow(SQL["leaderboard_as_told"], game.game_id, name)
                if row is not None and row["failure"] is not None and row["next_generation"] == board[1]:
                    await self._withdraw(game, name, row, key_id)
                    raise LeaderboardError(row["failure_code"], row["failure"])
        if row is None:
            raise not_found("leaderboard", f"{game.game} has no leaderboard {clean(name)!r} any more")
        told = board_with_build(row)
        answer = outline(told)
        if told.build is not None:  # as it was put, not as it still is
            put = outline(told.build.board)
            answer = msgspec.structs.replace(
                put, status=answer.status, progress=answer.progress, failure=answer.failure
            )
        with translated():
            url = await self._pool.fetchval(SQL["webhook_of_leaderboard"], game.game_id, name)
        return LeaderboardDefined(**msgspec.structs.asdict(answer), webhook=url)

    async def _withdraw(self, game: Game, name: str, failed: Any, key_id: str) -> None:
        """Take back a definition that could not be built while its caller was waiting."""
        async with self._transaction() as connection:
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            row = await connection.fetchrow(SQL["leaderboard"], game.game_id, name)
            build = row and await connection.fetchrow(SQL["build_of_leaderboard"], row["leaderboard_id"])
            if row is None or build is None or build["generation"] != failed["next_generation"]:
                return
            await _cancel(connection, row["leaderboard_id"])
            if row["status"] != "ready":
                await connection.fetchrow(SQL["drop_leaderboard"], game.game_id, name)
            await connection.execute(SQL["bump_rules"], game.game_id)
            await connection.execute(SQL["audit"], game.game_id, key_id, "refuse", name, failed["failure"])
        await self._changed(game.game)

    async def _told(self, game: Game, name: str) -> LeaderboardOut:
        with translated():
            row = await self._pool.fetchrow(SQL["leaderboard_as_told"], game.game_id, name)
        if row is None:
            raise not_found("leaderboard", f"{game.game} has no leaderboard {clean(name)!r} any more")
        return outline(board_with_build(row))

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
            await connection.execute(SQL["delete_build"], row["leaderboard_id"])
            await connection.execute(SQL["discard_entries"], row["leaderboard_id"], row["last_generation"])
            await connection.execute(SQL["bump_rules"], game.game_id)
            await connection.execute(SQL["audit"], game.game_id, key_id, "drop", name, None)
        await self._changed(game.game)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with translated():
            async with slowly(self._pool) as connection, connection.transaction():
                yield connection

    async def _changed(self, game: str) -> None:
        await announce(self._games, self._line, game)


async def _start(connection: Connection, row: Any, definition: tuple[Any, ...], *, carries: bool) -> None:
    """Put a definition on its way as a board's next generation, instead of any other that is."""
    board = row["leaderboard_id"]
    await _cancel(connection, board)
    await connection.fetchval(SQL["next_generation"], board)
    await connection.execute(SQL["start_build"], board, *definition, carries)


async def _cancel(connection: Connection, leaderboard_id: int) -> None:
    generation = await connection.fetchval(SQL["delete_build"], leaderboard_id)
    if generation is not None:
        await connection.execute(SQL["discard_generation"], leaderboard_id, generation)


def _same(columns: tuple[str, ...], row: Any, definition: tuple[Any, ...]) -> bool:
    given = dict(zip(DEFINITION, definition, strict=True))
    return all(row[column] == given[column] for column in columns)


def carries(before: Any, definition: tuple[Any, ...]) -> bool:
    """Say whether results add the same to both; what retention took out of the history is then kept.

    Bounds are not asked: what they would leave out of months that are gone cannot be told any more.
    """
    order = ("sort_order",) if before["operator"] == "best" else ()
    return _same(("operator", "modes", "schedule", "timezone", *order), before, definition)


def columns_of(body: LeaderboardIn) -> tuple[Any, ...]:
    """Return what a definition says, in the order of `DEFINITION`."""
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


def check(body: LeaderboardIn) -> None:
    """Check what a definition's type cannot say.

    Raises:
        LeaderboardError: `invalid_request`.
    """
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
