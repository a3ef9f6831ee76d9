"""What an admin looks up: sessions by player and time, all that is held about one user."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from score_service.store import SQL
from shared.answers import (
    AuditedAct,
    AuditLine,
    AuditPage,
    FoundSession,
    FoundSessions,
    HeldEntry,
    HeldResult,
    UserExport,
)
from shared.boards import Game
from shared.cursors import NEWEST, Position, cursor_of
from shared.errors import not_found
from shared.names import clean, is_user_id, season_id
from shared.postgres import Pool, translated

EXPORT_RESULTS = 1000
"""Results in one page of an export."""

_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


class Records:
    """Looks things up in the truth, for admins."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(
        self,
        game: Game,
        user_id: str | None,
        since: datetime | None,
        until: datetime | None,
        after: Position | None,
        limit: int,
    ) -> FoundSessions:
        """Return sessions played in [since, until), newest first, behind `after`."""
        bounds = (game.game_id, since or _EVER[0], until or _EVER[1], *(after or NEWEST), limit + 1)
        with translated():
            if user_id is None:
                rows = await self._pool.fetch(SQL["find_sessions"], *bounds)
            else:
                rows = await self._pool.fetch(SQL["find_sessions_of_user"], *bounds, user_id)
        sessions = [FoundSession(*row) for row in rows[:limit]]
        return FoundSessions(sessions, _next(sessions, len(rows) > limit))

    async def audit(self, game: Game, before: int, limit: int) -> AuditPage:
        """Return what was done by hand, newest first, from before the line numbered `before` on."""
        with translated():
            rows = await self._pool.fetch(SQL["audit_of_game"], game.game_id, before, limit + 1)
        cursor = str(rows[limit - 1]["audit_id"]) if len(rows) > limit else None
        return AuditPage([AuditedAct(*row[1:]) for row in map(tuple, rows[:limit])], cursor)

    async def export(self, game: Game, user_id: str, after: Position | None, key_id: str = "") -> UserExport:
        """Return what is held about a user; the audit keeps who asked for the first page.

        Raises:
            LeaderboardError: `user_not_found`.
        """
        who = (game.game_id, user_id)
        with translated():
            user = await self._pool.fetchrow(SQL["user_record"], *who) if is_user_id(user_id) else None
            if user is None:
                raise not_found("user", f"{game.game} has no user {clean(user_id)!r}")
            entries = await self._pool.fetch(SQL["entries_of_user"], *who)
            audit = await self._pool.fetch(SQL["audit_of_subject"], *who)
            rows = await self._pool.fetch(
                SQL["results_of_user"], *who, *(after or NEWEST), EXPORT_RESULTS + 1
            )
            if after is None:
                await self._pool.execute(SQL["audit"], game.game_id, key_id, "export", user_id, None)
        results = [HeldResult(row[0], row[1], row[2], _raw(row[3])) for row in rows[:EXPORT_RESULTS]]
        return UserExport(
            **dict(user),
            entries=[HeldEntry(row[0], season_id(row[1]), row[2]) for row in entries],
            audit=[AuditLine(*row) for row in audit],
            results=results,
            next_cursor=_next(results, len(rows) > EXPORT_RESULTS),
        )


def _next(listed: list[Any], more: bool) -> str | None:
    return cursor_of(Position(listed[-1].played_at, listed[-1].session_id)) if more else None


def _raw(metadata: str | None) -> msgspec.Raw | None:
    return None if metadata is None else msgspec.Raw(metadata.encode())
