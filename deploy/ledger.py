"""Are entries the fold of the history, and sealed standings what they were when they were sealed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from score_service.sealing import digest_of
from shared.postgres import Connection
from shared.queries import load
from shared.ranking import Board

if TYPE_CHECKING:
    from deploy.verify import Findings

SQL = {name: query.sql for name, query in load(Path(__file__).parent / "sql").items()}

USERS = 20_000
"""Users whose history is folded by one statement: bounds what Postgres holds in memory."""

LAST = "\U0010ffff"
"""Behind every user id."""

ROWS = 100
"""Differences of one statement that are told; all are counted."""


class Season(NamedTuple):
    """A season of the board; `digest` and `total` are those it was sealed with."""

    starts: int
    sealed: bool
    total: int | None
    digest: str | None


class Ledger:
    """Compares what Postgres holds of one board with itself.

    Args:
        connection: in a transaction whose every statement sees the same.
    """

    def __init__(self, connection: Connection, board: Board, findings: Findings) -> None:
        self._connection = connection
        self._board = board
        self._findings = findings

    async def seasons(self) -> list[Season]:
        """Return the board's seasons, those that only entries name too."""
        key = self._board.leaderboard_id, self._board.generation
        found = [Season(*row) for row in await self._connection.fetch(SQL["seasons_to_verify"], *key)]
        if not found and self._board.schedule is None:
            found = [Season(0, sealed=False, total=None, digest=None)]
        return found

    async def compare(self, seasons: Sequence[Season], only: int | None) -> None:
        """Compare seasons: all there are, or one (`only`)."""
        await self._connection.execute(SQL["take_long"])
        users = await self._connection.fetchval(SQL["count_users"], self._board.game_id)
        starts = [season.starts for season in seasons]
        after, done = "", 0
        while after != LAST:
            chunk = await self._connection.fetchrow(SQL["next_users"], self._board.game_id, after, USERS)
            assert chunk is not None, "an aggregate has a row"
            until = chunk["until"] if chunk["users"] == USERS else LAST
            await self._compare_entries(after, until, starts, only)
            after, done = until, done + chunk["users"]
            self._findings.step("entries and their history", done, users)
        sealed = [season for season in seasons if season.sealed]
        for i, season in enumerate(sealed, start=1):
            await self._compare_sealed(season)
            self._findings.step("sealed seasons", i, len(sealed))
        self._findings.compared["seasons"] += len(seasons)
        self._findings.compared["sealed seasons"] += len(sealed)

    async def _compare_entries(self, after: str, until: str, starts: list[int], only: int | None) -> None:
        board = self._board
        key = board.leaderboard_id, board.game_id, board.generation
        counts, *wrong = await self._connection.fetch(
            SQL["compare_entries"], *key, after, until, starts, only, ROWS
        )
        numbers = _decoded(counts["should"])
        self._findings.compared["entries"] += numbers.pop("entries")
        for what, number in numbers.items():
            self._findings.count(what, number)
        for season, user_id, stored, should in wrong:
            kind = "missing" if stored is None else "surplus" if should is None else "wrong"
            self._findings.tell(f"{kind} entry", season, user_id, _decoded(stored), _decoded(should))

    async def _compare_sealed(self, season: Season) -> None:
        board, findings = self._board, self._findings
        key = board.leaderboard_id, board.generation, season.starts
        total, digest = await digest_of(self._connection, key)
        for what, stored, should in (("total", season.total, total), ("digest", season.digest, digest)):
            if stored != should:
                findings.add(f"sealed {what}", season.starts, None, stored, should)
        worst = board.ranking(season.starts).sort_key(1)
        counts, *wrong = await self._connection.fetch(SQL["compare_standings"], *key, board.ties, worst, ROWS)
        for what, number in _decoded(counts["should"]).items():
            findings.count(what, number)
        for user_id, stored, should in wrong:
            findings.tell("wrong sealed row", season.starts, user_id, _decoded(stored), _decoded(should))


def _decoded(row: str | None) -> Any:
    return None if row is None else msgspec.json.decode(row)
