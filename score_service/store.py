"""How the truth is kept: one method per named query, on a connection inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from score_service.rules import Remains
from shared.boards import GAME_WITH_BOARDS, Game, game_from_rows
from shared.postgres import Connection
from shared.queries import load

SQL = {name: query.sql for name, query in load(Path(__file__).parent / "sql").items()}
LOCK_ORDER = {"sum": 0, "count": 0, "best": 1, "latest": 2}
"""In what order every transaction locks the entries of boards with these operators (see `record_batch`)."""


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

    @property
    def place(self) -> tuple[int, int, int]:
        """Its leaderboard, generation and season."""
        return (self.leaderboard_id, self.generation, self.season)


class Recording(NamedTuple):
    """A batch, in the arguments of `record_batch`: see there for what they mean."""

    games: tuple[Sequence[int], Sequence[int]]
    """Games, and the versions of their rules."""

    presumed: tuple[int, int, int]
    """The time; from when and until when all counts as it was found to. In microseconds."""

    outbox: tuple[str, Sequence[int]]
    """The changes, and the rows whose changes were applied."""

    history: Sequence[Sequence[Any] | None]
    """Places in the history, sessions and results."""

    entries: Sequence[Sequence[Any] | None]
    """Rankings, and the contributions to their entries."""

    building: Sequence[Sequence[int]]
    """Generations being built."""

    nowhere: Sequence[Sequence[Any]]
    """Users, by game, whose sessions count nowhere."""


class Verdict(NamedTuple):
    """What became of a batch: `recorded`, or nothing was: `moved`, `known`, `beyond`.

    `moment` (microseconds) and `outbox_id` are those of a recorded batch; the entries are as it left them.
    Of one that is `beyond`, there is one entry: a total that would be out of range.
    """

    what: str
    moment: int
    outbox_id: int
    entries: list[EntryRow]


class Truth:
    """The statements of the write side, on one connection; arguments come sorted by key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Run several statements in one transaction."""
        return self._connection.transaction()

    async def enter_gate(self, game_ids: Sequence[int]) -> list[Any]:
        """Hold the gates of games, shared, until the transaction ends; outside of one, just read.

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
        return await self.closings(rows)

    async def closings(self, rows: Sequence[SeasonRow]) -> dict[tuple[int, int, int], datetime]:
        """Return when those of some seasons close that have a row."""
        found = await self._connection.fetch(SQL["closings_of_seasons"], *columns(rows, 4)[:3])
        return {(row[0], row[1], row[2]): row[3] for row in found}

    async def record(self, batch: Recording) -> Verdict:
        """Record a batch, in a transaction of its own, if it is as presumed."""
        rows = await self._connection.fetch(
            SQL["record_batch"],
            *batch.games,
            *batch.presumed,
            *batch.outbox,
            *batch.history,
            *batch.entries,
            *batch.building,
            *batch.nowhere,
        )
        # What tells is the last row; of a batch that was recorded, the first (see `record_batch`).
        last = rows[-1]
        if last[0] is not None or last[2] == "recorded":
            first, *merged = rows
            return Verdict("recorded", first[4], first[6], [_new(EntryRow, row) for row in merged])
        entries = [EntryRow(*rows[-2])] if last[2] == "beyond" else []
        return Verdict(last[2], 0, 0, entries)

    async def classify_sessions(
        self, keys: Sequence[tuple[int, date, UUID]]
    ) -> dict[tuple[int, int], Recorded]:
        """Return what is recorded of sessions, by game and session id, as a number."""
        rows = await self._connection.fetch(SQL["classify_sessions"], *columns(keys, 3))
        found = {(row[0], row[1].int): Recorded(row[2], row[3], row[4], row[5]) for row in rows}
        remaining = [key for key in keys if (key[0], key[2].int) in found]
        if blank := [key for key in remaining if not found[key[0], key[2].int].fingerprint]:
            for row in await self._connection.fetch(SQL["remains_of_sessions"], *columns(blank, 3)):
                recorded = found[row[0], row[1].int]
                scores = dict(zip(row[3], row[4], strict=True))
                remains = Remains(row[2], recorded.played_at, scores, row[5])
                found[row[0], row[1].int] = recorded._replace(remains=remains)
        return found

    async def fail_builds(self, generations: Sequence[tuple[int, int]], code: str, detail: str) -> None:
        """Note that definitions on their way, by (leaderboard_id, generation), cannot be."""
        await self._connection.execute(SQL["fail_builds"], *columns(generations, 2), code, detail)


def sparse(array: Sequence[Any]) -> Sequence[Any] | None:
    """Leave out an array that says nothing: encoding costs by the element."""
    return array if any(array) else None


_new: Any = tuple.__new__


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Turn rows into the arrays that `unnest` takes."""
    return list(zip(*rows, strict=True)) if rows else [()] * width
