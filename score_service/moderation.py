"""What an admin takes back: sessions made void, users banned. The record itself stays."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg

from score_service.batch import Changed, changes, users_of
from score_service.committer import BEYOND, OUT_OF_RANGE, Committer
from score_service.history import History
from score_service.index import Applier
from score_service.store import LOCK_ORDER, SQL, EntryRow, Truth
from shared.answers import BanOut, RecordedSession
from shared.boards import Game
from shared.errors import LeaderboardError, StoreUnavailable, not_found
from shared.names import MAX_SCORE, clean, microseconds, period_of
from shared.postgres import Connection, Pool, slowly, translated
from shared.ranking import Board, Ranking

log = logging.getLogger(__name__)


class Moderation:
    """Voids sessions and bans users; every change is audited, in the transaction that makes it."""

    def __init__(self, pool: Pool, committer: Committer, applier: Applier, history: History) -> None:
        self._pool = pool
        self._committer = committer
        self._applier = applier
        self._history = history

    async def void(self, game: Game, raw_id: str, reason: str, key_id: str) -> RecordedSession:
        """Take a session out of every board; again is a no-op.

        Raises:
            LeaderboardError: `session_not_found`; `session_too_old`, its month is closed;
                `score_total_out_of_range`, a total without it would be.
        """
        record = await self._history.session(game, raw_id)
        key = (game.game_id, period_of(record.session_id), record.session_id)
        async with self._transaction() as connection:
            truth = Truth(connection)
            (gate,) = await truth.enter_gate([game.game_id])
            if gate["first_period"] <= key[1] < gate["closed_until"]:
                raise LeaderboardError(
                    "session_too_old", f"sessions before {gate['closed_until']} are closed"
                )
            marked = await connection.fetchrow(SQL["void_session"], *key, reason)
            if marked is None:
                return await self._history.session(game, raw_id)
            users = [row["user_id"] for row in await connection.fetch(SQL["users_of_session"], *key)]
            current = await truth.game(game.game)
            assert current is not None, "a game is never deleted"
            # Not by our own grace: a season may have begun with another.
            known = self._committer.closings
            unknown = known.unknown([(current.counting, marked["mode"], marked["played_at"])])
            closings = known.extended(unknown, await truth.closings(unknown)) if unknown else known
            counts = closings.counts(
                current.counting, marked["mode"], marked["played_at"], marked["recorded_at"]
            )
            rankings = {board: ranking.season for board, ranking in counts if ranking is not None}
            entries = await _refold(connection, rankings, users)
            if current.builds:
                await _refold_builds(connection, game, marked["played_at"], current.builds, users)
            outbox_id = await self._write_down(
                connection, game, entries, key_id, "void", str(record.session_id), reason
            )
        await self._apply(entries, outbox_id)
        return await self._history.session(game, raw_id)

    async def ban(self, game: Game, user_id: str, reason: str | None, key_id: str) -> BanOut:
        """Hide a user from every board; scores go on to count, unseen.

        Raises:
            LeaderboardError: `user_not_found`.
        """
        return await self._set_ban(game, user_id, reason, key_id, banned=True)

    async def unban(self, game: Game, user_id: str, key_id: str) -> BanOut:
        """Show a user again.

        Raises:
            LeaderboardError: `user_not_found`.
        """
        return await self._set_ban(game, user_id, None, key_id, banned=False)

    async def _set_ban(
        self, game: Game, user_id: str, reason: str | None, key_id: str, *, banned: bool
    ) -> BanOut:
        async with self._transaction() as connection:
            # Alone behind the gate: no batch may go on with who was banned when it began.
            await connection.execute(SQL["gate_exclusively"], game.game_id)
            if banned:
                row = await connection.fetchrow(SQL["ban_user"], game.game_id, user_id, reason)
            else:
                row = await connection.fetchrow(SQL["unban_user"], game.game_id, user_id)
            if row is None:
                raise not_found("user", f"{game.game} has no user {clean(user_id)!r}")
            await connection.execute(SQL["note_bans"], game.game_id)
            current = await Truth(connection).game(game.game)
            assert current is not None, "a game is never deleted"
            rows = await connection.fetch(SQL["hide_entries"], game.game_id, user_id, banned)
            entries = by_ranking(current.counting, rows)
            action = "ban" if banned else "unban"
            outbox_id = await self._write_down(connection, game, entries, key_id, action, user_id, reason)
        await self._apply(entries, outbox_id)
        return BanOut(row["user_id"], row["banned_at"], row["ban_reason"])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        with translated():
            async with slowly(self._pool) as connection, connection.transaction():
                yield connection

    async def _write_down(
        self,
        connection: Connection,
        game: Game,
        entries: Changed,
        *audited: str | None,
    ) -> int:
        await connection.execute(SQL["audit"], game.game_id, *audited)
        outbox_id: int = await connection.fetchval(SQL["queue"], changes(users_of(entries)))
        return outbox_id

    async def _apply(self, entries: Changed, outbox_id: int) -> None:
        try:
            await self._applier.apply([entries])
        except StoreUnavailable as error:
            log.warning("changed entries are left to the outbox worker: %s", error)
        else:
            self._committer.applied.add(outbox_id)


async def _refold(
    connection: Connection, seasons: Mapping[Board, int | None], users: list[str]
) -> dict[Ranking, list[EntryRow]]:
    """Lock users' entries in the order of every batch; then, in new statements, fold and replace.

    `seasons` names the boards, and which season of each (None: all). Sealed ones will be sealed anew.
    """
    ordered = sorted(seasons, key=lambda board: (LOCK_ORDER[board.operator], board.leaderboard_id))
    for statement in ("lock_seasons", "lock_entries"):
        for board in ordered:
            key = (board.leaderboard_id, board.generation, users, seasons[board])
            await connection.execute(SQL[statement], *key)
    rows: list[Any] = []
    for board in ordered:
        try:
            key = (board.leaderboard_id, board.generation, users, seasons[board])
            found = await connection.fetch(SQL["refold_entries"], *key)
        except asyncpg.NumericValueOutOfRangeError as error:
            raise _out_of_range(board) from error
        if any(abs(row["sort_key"]) > MAX_SCORE for row in found):
            raise _out_of_range(board)
        changed = list({row["season"] for row in found})
        await connection.execute(SQL["unseal_seasons"], board.leaderboard_id, board.generation, changed)
        rows += found
    return by_ranking(ordered, rows)


async def _refold_builds(
    connection: Connection, game: Game, played_at: datetime, builds: Sequence[Board], users: list[str]
) -> None:
    """Do the same to generations being built, where users have entries there; one that cannot be fails."""
    # A chunk that has read the session as it was must be through: its entries are there to be found.
    await connection.execute(SQL["lock_builds"], game.game_id)
    for board in sorted(builds, key=lambda board: (LOCK_ORDER[board.operator], board.leaderboard_id)):
        season = board.season_at(microseconds(played_at) // 1_000_000)
        key = (board.leaderboard_id, board.generation, users, season.starts)
        await connection.execute(SQL["lock_entries"], *key)
        try:
            async with connection.transaction():
                rows = await connection.fetch(SQL["refold_entries"], *key)
            beyond = any(abs(row["sort_key"]) > MAX_SCORE for row in rows)
        except asyncpg.NumericValueOutOfRangeError:
            beyond = True
        if beyond:
            failed = [(board.leaderboard_id, board.generation)]
            await Truth(connection).fail_builds(failed, OUT_OF_RANGE, BEYOND)


def by_ranking(boards: Iterable[Board], rows: Sequence[Any]) -> dict[Ranking, list[EntryRow]]:
    """Return changed entries in the order of their keys; only of these generations."""
    known = {board.generation_key: board for board in boards}
    found: dict[Ranking, list[EntryRow]] = {}
    for entry in sorted((EntryRow(*row) for row in rows), key=lambda entry: (entry.place, entry.user_id)):
        if (board := known.get(entry.place[:2])) is not None:
            found.setdefault(board.ranking(entry.season), []).append(entry)
    return found


def _out_of_range(board: Board) -> LeaderboardError:
    detail = f"without this session a total on {board.leaderboard} would pass {MAX_SCORE} in magnitude"
    return LeaderboardError("score_total_out_of_range", detail)
