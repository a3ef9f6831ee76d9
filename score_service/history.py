"""Reads of the truth by the write side: recorded sessions, entries as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from score_service.batch import EntryKey
from score_service.seasons import Closings, Played
from score_service.store import SQL, Truth, columns
from shared.answers import RecordedResult, RecordedSession
from shared.boards import Game
from shared.errors import not_found
from shared.names import clean, period_of
from shared.postgres import Pool, translated
from shared.ranking import Entry, Ranking


class History:
    """Reads sessions and entries from Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def session(self, game: Game, raw_id: str) -> RecordedSession:
        """Return a recorded session.

        Raises:
            LeaderboardError: `session_not_found`, also for what is not a UUID.
        """
        try:
            session_id = UUID(raw_id) if len(raw_id) == 36 else None
        except ValueError:
            session_id = None
        rows: list[Any] = []
        if session_id is not None:
            with translated():
                rows = await self._pool.fetch(SQL["session"], game.game_id, period_of(session_id), session_id)
        if not rows:
            raise not_found("session", f"{game.game} has no session {clean(raw_id)!r}")
        head = rows[0]
        results = [RecordedResult(row["user_id"], row["score"], _raw(row["metadata"])) for row in rows]
        return RecordedSession(
            head["session_id"],
            head["mode"],
            head["played_at"],
            head["recorded_at"],
            head["voided_at"],
            results,
        )

    async def closings(self, known: Closings, played: Iterable[Played]) -> Closings:
        """Return what is known of seasons, those in which these sessions were played looked up."""
        unknown = known.unknown(played)
        if not unknown:
            return known
        with translated():
            async with self._pool.acquire() as connection:
                return known.extended(unknown, await Truth(connection).closings(unknown))

    async def scores(self, keys: Sequence[EntryKey]) -> dict[EntryKey, int]:
        """Return the scores of entries that exist and are shown."""
        rows = await self._entries(keys)
        return {key: row["score"] for key, row in rows.items() if row["sort_key"] is not None}

    async def entries(self, keys: Sequence[EntryKey]) -> dict[Ranking, list[Entry]]:
        """Return entries as the index needs them, as they stand now, hidden and deleted ones too."""
        found: dict[Ranking, list[Entry]] = {}
        for (ranking, user_id), row in (await self._entries(keys)).items():
            entry = Entry(user_id, row["version"], row["sort_key"], row["tiebreak"])
            found.setdefault(ranking, []).append(entry)
        return found

    async def _entries(self, keys: Sequence[EntryKey]) -> dict[EntryKey, Any]:
        wanted = {(r.leaderboard_id, r.generation, r.season, user): (r, user) for r, user in keys}
        with translated():
            rows = await self._pool.fetch(SQL["entries_of_users"], *columns(list(wanted), 4))
        return {wanted[row[0], row[1], row[2], row[3]]: row for row in rows}


def _raw(metadata: str | None) -> msgspec.Raw | None:
    return None if metadata is None else msgspec.Raw(metadata.encode())
