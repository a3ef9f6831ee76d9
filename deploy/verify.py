"""`leaderboard verify`: are entries the fold of the history, sealed standings and indexes what entries say?

Nothing is written. The Postgres side (`deploy.ledger`) is one snapshot, so it is exact while sessions come
in. The indexes (`deploy.copies`) are compared with Postgres as it goes on; what differs is looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from time import time
from typing import Any

import msgspec

from deploy.copies import Copies
from deploy.ledger import Ledger, Season
from rank_service.rules import no_season, start_asked
from shared.boards import GAME_WITH_BOARDS, game_from_rows
from shared.cluster import open_line
from shared.errors import LeaderboardError, not_found
from shared.index import RankingIndex
from shared.names import season_id
from shared.postgres import Pool, open_pool, translated
from shared.ranking import Board

SHOWN = 100
"""Differences told one by one; all are counted."""

TIMEOUT = 30.0
"""Seconds a round trip to Redis may take."""

Step = Callable[[str, int, int], None]
"""Told what is being compared, how much of it was, and of how much."""


class Difference(msgspec.Struct, frozen=True):
    """What is not as it should be; a season by its public id."""

    what: str
    season: str
    user_id: str | None
    stored: str
    should: str


class Findings:
    """What was compared, and what differed: counted, the first ones told."""

    def __init__(self, step: Step = lambda *_: None) -> None:
        self.step = step
        self.compared: Counter[str] = Counter()
        self.differences: Counter[str] = Counter()
        self.first: list[Difference] = []
        self.notes: list[str] = []

    @property
    def total(self) -> int:
        """How many differences there are."""
        return sum(self.differences.values())

    def count(self, what: str, number: int) -> None:
        """Count differences that are told by `tell`, or are too many for that."""
        if number:
            self.differences[what] += number

    def tell(self, what: str, season: int, user_id: str | None, stored: Any, should: Any) -> None:
        """Tell one difference that was counted, while there is room; of rows, only what differs."""
        if len(self.first) >= SHOWN:
            return
        if isinstance(stored, Mapping) and isinstance(should, Mapping):
            names = [name for name in stored if stored[name] != should[name]]
            stored, should = ({name: row[name] for name in names} for row in (stored, should))
        self.first.append(Difference(what, season_id(season), user_id, _words(stored), _words(should)))

    def add(self, what: str, season: int, user_id: str | None, stored: Any, should: Any) -> None:
        """Count one difference and tell it."""
        self.count(what, 1)
        self.tell(what, season, user_id, stored, should)

    def answer(self) -> dict[str, Any]:
        """Return all of it, for programs."""
        return {
            "equal": not self.total,
            "compared": dict(self.compared),
            "differences": {"total": self.total, **self.differences},
            "first": msgspec.to_builtins(self.first),
            "notes": self.notes,
        }


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    return "nothing" if value is None else str(value)


async def verify(
    database_url: str, redis_url: str, game: str, leaderboard: str, asked: str | None, step: Step
) -> Findings:
    """Compare a leaderboard, one season or all.

    Raises:
        LeaderboardError: there is no such game, leaderboard or season.
        StoreUnavailable: Postgres or Redis cannot be asked.
    """
    findings = Findings(step)
    line = open_line(redis_url, timeout=TIMEOUT)
    index = RankingIndex(line, idle_ms=60_000)

    def seen(identity: str) -> None:
        index.database_identity = identity

    opened = open_pool(
        database_url,
        size=2,
        timeout=10.0,
        name="leaderboard verify",
        on_identity=seen,
        statement_timeout_ms=600_000,
    )
    try:
        async with opened as pool:
            board, seasons = await _postgres(pool, findings, game, leaderboard, asked)
            copies = Copies(index, line, pool, findings)
            for season in seasons:
                if not season.sealed:
                    await copies.compare(board.ranking(season.starts))
    finally:
        await line.close()
    return findings


async def _postgres(
    pool: Pool, findings: Findings, game: str, leaderboard: str, asked: str | None
) -> tuple[Board, list[Season]]:
    """Compare what Postgres holds with itself, in one snapshot; return what was found in it."""
    with translated():
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            found = game_from_rows(await connection.fetch(GAME_WITH_BOARDS, game))
            if found is None:
                raise not_found("game", f"there is no game {game!r}")
            board = found.board(leaderboard)
            if board.status != "ready":
                raise LeaderboardError(
                    "leaderboard_building", f"{leaderboard} is being built from its history"
                )
            ledger = Ledger(connection, board, findings)
            seasons = await ledger.seasons()
            if asked is not None:
                starts = start_asked(board, asked, int(time()))
                seasons = [season for season in seasons if season.starts == starts]
                if not seasons:
                    raise no_season(board, asked)
            await ledger.compare(seasons, None if asked is None else seasons[0].starts)
    return board, seasons
