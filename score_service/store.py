"""How the truth is kept: one method per named query, on a connection inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from score_service.rules import Contribution, Remains
from shared.boards import GAME_WITH_BOARDS, Game, game_from_rows
from shared.messages import Operator
from shared.postgres import Connection
from shared.queries import load
from shared.ranking import Ranking

SQL = {name: query.sql for name, query in load(Path(__file__).parent / "sql").items()}
MERGES: dict[str, str] = {"best": "merge_best", "latest": "merge_latest"}
"""Statements that merge entries, by operator, in the order in which every transaction runs them: one
lock order for all. The additive operators are merged by `record_results`, before these."""


class SessionRow(NamedTuple):
    """A row of `game_sessions` to insert."""

    game_id: int
    period: date
    session_id: UUID
    fingerprint: bytes
    mode: str | None
    played_at: datetime


class ResultRow(NamedTuple):
    """A row of `session_results` to insert: `at` is its session's place among the batch's, from 1."""

    at: int
    user_id: str
    score: int
    metadata: str | None


class Recorded(NamedTuple):
    """What the history holds of one session."""

    fingerprint: bytes
    played_at: datetime
    recorded_at: datetime
    voided: bool
    remains: Remains | None = None
    """Instead of the fingerprint, where players were erased."""


class SeasonRow(NamedTuple):
    """A row of `seasons` to insert."""

    leaderboard_id: int
    generation: int
    season: int
    ends_at: datetime


class Fold(NamedTuple):
    """A merged contribution on its way into one entry."""

    ranking: Ranking
    user_id: str
    operator: Operator
    contribution: Contribution
    hidden: bool = False


class EntryRow(NamedTuple):
    """An entry as a merge left it."""

    leaderboard_id: int
    generation: int
    user_id: str
    season: int
    sort_key: int
    tiebreak: int
    version: int
    hidden: bool
    is_new: bool


class Transaction:
    """The statements of a batch, in the order architecture demands; arguments come sorted by key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def enter_gate(self, game_ids: Sequence[int]) -> list[Any]:
        """Hold the gates of games, shared, until the transaction ends.

        Returns (game_id, game, rules_version, archived, now, first_period, closed_until, has_bans) for each.
        """
        return await self._connection.fetch(SQL["enter_gate"], game_ids)

    async def game(self, game: str) -> Game | None:
        """Return a game's definition as this transaction sees it."""
        return game_from_rows(await self._connection.fetch(GAME_WITH_BOARDS, game))

    async def open_seasons(
        self, rows: Sequence[SeasonRow], grace: timedelta, now: datetime
    ) -> dict[tuple[int, int, int], datetime]:
        """Open those of some seasons that still take results; return when those that have a row close."""
        await self._connection.execute(SQL["open_seasons"], *columns(rows, 4), grace, now)
        found = await self._connection.fetch(SQL["closings_of_seasons"], *columns(rows, 4)[:3])
        return {(row[0], row[1], row[2]): row[3] for row in found}

    async def record_sessions(self, rows: Sequence[SessionRow], now: datetime) -> set[tuple[int, UUID]]:
        """Insert sessions; return (game_id, session_id) of those that were not there."""
        inserted = await self._connection.fetch(SQL["record_sessions"], *columns(rows, 6), now)
        return {(row[0], row[1]) for row in inserted}

    async def classify_sessions(
        self, keys: Sequence[tuple[int, date, UUID]]
    ) -> dict[tuple[int, UUID], Recorded]:
        """Return what is recorded of sessions, by (game_id, session_id)."""
        rows = await self._connection.fetch(SQL["classify_sessions"], *columns(keys, 3))
        found = {(row[0], row[1]): Recorded(row[2], row[3], row[4], row[5]) for row in rows}
        if blank := [
            key for key in keys if (key[0], key[2]) in found and not found[key[0], key[2]].fingerprint
        ]:
            for row in await self._connection.fetch(SQL["remains_of_sessions"], *columns(blank, 3)):
                recorded = found[row[0], row[1]]
                scores = dict(zip(row[3], row[4], strict=True))
                remains = Remains(row[2], recorded.played_at, scores, row[5])
                found[row[0], row[1]] = recorded._replace(remains=remains)
        return found

    async def banned_users(self, users: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        """Return those of (game_id, user_id) who are banned."""
        rows = await self._connection.fetch(SQL["banned_users"], *columns(users, 2))
        return {(row[0], row[1]) for row in rows}

    async def record_results(
        self,
        additive: Sequence[Fold],
        users: Sequence[tuple[int, str]],
        sessions: Sequence[SessionRow],
        results: Sequence[ResultRow],
        changes: str,
        applied: Sequence[int],
    ) -> tuple[int, list[EntryRow]]:
        """Append results and users, queue `changes` (JSON), drop `applied`, merge `additive`.

        Returns the id of the outbox row, and the merged entries as they are now.
        """
        game_ids, periods, session_ids, _, _, played_at = columns(sessions, 6)
        queued, *merged = await self._connection.fetch(
            SQL["record_results"],
            *_fold_columns(additive),
            *columns(users, 2),
            *(game_ids, periods, session_ids, played_at),
            *_sparse(columns(results, 4), 3),
            changes,
            applied,
        )
        return queued[0], [EntryRow(*row) for row in merged]

    async def merge(self, operator: str, folds: Sequence[Fold]) -> list[EntryRow]:
        """Merge contributions into entries by one of `MERGES`; return the entries as they are now."""
        rows = await self._connection.fetch(SQL[MERGES[operator]], *_fold_columns(folds))
        return [EntryRow(*row) for row in rows]

    async def fail_builds(self, generations: Sequence[tuple[int, int]], code: str, detail: str) -> None:
        """Note that definitions on their way, by (leaderboard_id, generation), cannot be."""
        await self._connection.execute(SQL["fail_builds"], *columns(generations, 2), code, detail)


def _fold_columns(folds: Sequence[Fold]) -> list[Sequence[Any] | None]:
    """Return what rankings say, once each, and the columns of the folds with their ranking's place."""
    places: dict[Ranking, int] = {}
    rows = [
        (places.setdefault(ranking, len(places) + 1), user_id, *contribution, hidden)
        for ranking, user_id, _, contribution, hidden in folds
    ]
    heads = [(r.leaderboard_id, r.generation, r.season, r.score(1), r.ties == "first") for r in places]
    return [*columns(heads, 5), *_sparse(columns(rows, 6), 4)]


def _sparse(arrays: list[Sequence[Any]], start: int) -> list[Sequence[Any] | None]:
    """Leave out arrays, from `start` on, that say nothing: encoding costs by the element."""
    return [*arrays[:start], *(array if any(array) else None for array in arrays[start:])]


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Turn rows into the arrays that `unnest` takes."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
