"""Games and their leaderboards, kept in process: at most a second old, refreshed by events."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec import UNSET, structs

from shared.errors import StoreUnavailable, not_found
from shared.messages import LeaderboardIn, LeaderboardOut
from shared.names import clean, is_slug
from shared.postgres import Pool, translated
from shared.queries import load as load_queries
from shared.ranking import Board, Build

log = logging.getLogger(__name__)

MAX_AGE = 1.0
"""Seconds after which a definition is looked up again before it is used."""

RENEW_AGE = 0.5
"""Seconds after which it is looked up in the background, so that no request waits."""

WAIT = 1.0
"""Seconds a lookup is waited for where what is known will do."""

MAX_GAMES = 10_000
"""Games kept in process; past it the one least recently looked up goes."""

GAME_WITH_BOARDS = load_queries(Path(__file__).parent / "sql")["game_with_boards"].sql


@dataclass(frozen=True)
class Game:
    """A game and its leaderboards, by id, as of one moment."""

    game_id: int
    game: str
    title: str | None
    archived: bool
    rules_version: int
    boards: dict[str, Board]

    @cached_property
    def counting(self) -> tuple[Board, ...]:
        """Those whose definition is in force: not the ones that were never built."""
        return tuple(board for board in self.boards.values() if board.status == "ready")

    @cached_property
    def builds(self) -> tuple[Board, ...]:
        """The definitions on their way: what is recorded feeds them too."""
        builds = (board.build for board in self.boards.values())
        return tuple(each.board for each in builds if each is not None and each.failure is None)

    def board(self, leaderboard: str) -> Board:
        """Return one leaderboard.

        Raises:
            LeaderboardError: `leaderboard_not_found`.
        """
        board = self.boards.get(leaderboard)
        if board is None:
            raise not_found("leaderboard", f"{self.game} has no leaderboard {clean(leaderboard)!r}")
        return board


class Games:
    """The definitions of all games, looked up when they are first needed.

    When Postgres cannot be asked, what is known is used: nothing can be defined meanwhile.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, tuple[float, Game]] = {}
        self._lookups: dict[str, asyncio.Task[Game | None]] = {}

    def known(self, game: str) -> Game | None:
        """Return a game that need not be looked up first."""
        known = self._known.get(game)
        if known is None or (age := monotonic() - known[0]) >= MAX_AGE:
            return None
        if age > RENEW_AGE:
            self._lookup(game)
        return known[1]

    async def get(self, game: str) -> Game:
        """Return a game; one not known, or unknown to have this name, is always looked up.

        Raises:
            LeaderboardError: `game_not_found`.
            StoreUnavailable: it is not known and Postgres cannot be asked.
        """
        if (found := self.known(game)) is not None:
            return found
        known = self._known.get(game)
        try:
            async with asyncio.timeout(None if known is None else WAIT):
                found = await asyncio.shield(self._lookup(game)) if is_slug(game) else None
        except (StoreUnavailable, TimeoutError):
            if known is None:
                raise
            found = known[1]
        if found is None or found.archived:
            raise not_found("game", f"there is no game {clean(game)!r}")
        return found

    async def board(self, game: str, leaderboard: str) -> Board:
        """Return one leaderboard; one that is not known is looked up before it is called unknown.

        Raises:
            LeaderboardError: `game_not_found` or `leaderboard_not_found`.
        """
        found = (await self.get(game)).boards.get(leaderboard)
        if found is None:
            self.forget(game)
            return (await self.get(game)).board(leaderboard)
        return found

    def forget(self, game: str) -> None:
        """Make the next `get` look the game up: its definition has changed."""
        self._known.pop(game, None)
        # A lookup under way may have read the definition as it was before.
        self._lookups.pop(game, None)

    async def close(self) -> None:
        """End the lookups under way."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _lookup(self, game: str) -> asyncio.Task[Game | None]:
        task = self._lookups.get(game)
        if task is None:
            task = asyncio.create_task(self._fetch(game), name=f"look up {game}")
            self._lookups[game] = task
            task.add_done_callback(lambda done: self._ended(game, done))
        return task

    def _ended(self, game: str, task: asyncio.Task[Game | None]) -> None:
        if self._lookups.get(game) is task:
            del self._lookups[game]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a game could not be looked up: %s", error, extra={"game": game})

    async def _fetch(self, game: str) -> Game | None:
        asked = monotonic()
        with translated():
            rows = await self._pool.fetch(GAME_WITH_BOARDS, game)
        found = game_from_rows(rows)
        if self._lookups.get(game) is asyncio.current_task():
            self._known.pop(game, None)
            if found is not None and not found.archived:
                self._known[game] = (asked, found)
                if len(self._known) > MAX_GAMES:
                    del self._known[next(iter(self._known))]
        return found


def game_from_rows(rows: list[Any]) -> Game | None:
    """Build a game from the rows of `game_with_boards`; None when there are none."""
    if not rows:
        return None
    first = rows[0]
    return Game(
        game_id=first["game_id"],
        game=first["game"],
        title=first["game_title"],
        archived=first["archived_at"] is not None,
        rules_version=first["rules_version"],
        boards={
            row["leaderboard"]: board_with_build(row) for row in rows if row["leaderboard_id"] is not None
        },
    )


def board_from_row(row: Any, build: Build | None = None) -> Board:
    """Build a leaderboard from a row that holds its columns."""
    return Board(
        leaderboard_id=row["leaderboard_id"],
        game_id=row["game_id"],
        leaderboard=row["leaderboard"],
        generation=row["generation"],
        title=row["title"],
        operator=row["operator"],
        order=row["sort_order"],
        ties=row["ties"],
        schedule=row["schedule"],
        timezone=row["timezone"],
        modes=None if row["modes"] is None else frozenset(row["modes"]),
        min_score=row["min_score"],
        max_score=row["max_score"],
        status=row["status"],
        index_shards=row["index_shards"],
        index_layout=row["index_layout"],
        build=build,
    )


DEFINITION = (
    "title",
    "operator",
    "sort_order",
    "ties",
    "schedule",
    "timezone",
    "modes",
    "min_score",
    "max_score",
    "index_shards",
)
"""The columns of what a definition says, in the order of the statements that take one."""

NEXT = ("generation", *DEFINITION)
"""What a definition on its way has of its own."""


def board_with_build(row: Any) -> Board:
    """Build a leaderboard from a row that also holds the columns of what is on its way to it."""
    if row["next_generation"] is None:
        return board_from_row(row)
    columns = {**dict(row), **{name: row[f"next_{name}"] for name in NEXT}, "status": "building"}
    build = Build(
        board_from_row(columns), row["users_done"], row["users_total"], row["failure_code"], row["failure"]
    )
    return board_from_row(row, build)


def outline(board: Board) -> LeaderboardOut:
    """Tell a leaderboard's definition, and what is on its way to it."""
    build = board.build
    failed = build is not None and build.failure is not None
    status: Any = "building" if build is not None else board.status
    if failed:
        status = "ready" if board.status == "ready" else "failed"
    said = structs.asdict(definition_of(board))
    del said["webhook"]  # only who may define a board is told where its seasons are announced
    return LeaderboardOut(
        leaderboard=board.leaderboard,
        **said,
        status=status,
        progress=UNSET if build is None or failed else build.progress,
        next=UNSET if build is None or board.status != "ready" else definition_of(build.board),
        failure=UNSET if build is None or build.failure is None else build.failure,
    )


def definition_of(board: Board) -> LeaderboardIn:
    """Return a leaderboard's definition as it would be put."""
    return LeaderboardIn(
        title=board.title,
        operator=board.operator,
        order=board.order,
        ties=board.ties,
        schedule=board.schedule,
        timezone=board.timezone,
        modes=None if board.modes is None else tuple(sorted(board.modes)),
        min_score=board.min_score,
        max_score=board.max_score,
        index_shards=board.index_shards,
    )
