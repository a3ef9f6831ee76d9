"""The model of a game that clients change side by side, and what an answer may have been.

Every change is a change of a set (sessions, voids, bans), so the order of changes cannot matter: an answer
is right if it is the model's after all changes that had ended before it was asked for and any of those
that were under way until it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations
from typing import Any
from uuid import UUID

from shared.names import microseconds
from tests.model import Board, Game, Result, Session, Standing, fold

GRACE = 600
"""Seconds after the end of a season in which results still count: the setting's default."""


class Minutely(Board):
    """A board with a season a minute."""

    def season(self, played_at: int) -> int:
        return played_at // 60_000_000 * 60


@dataclass
class World(Game):
    """A game as the model has it; `late` are sessions that came when their minute was closed."""

    late: set[UUID] = field(default_factory=set)

    def copy(self) -> World:
        """Return a world of its own."""
        return replace(
            self,
            boards=dict(self.boards),
            sessions=dict(self.sessions),
            banned=set(self.banned),
            voided=set(self.voided),
            erased=set(self.erased),
            late=set(self.late),
        )

    def results(self, board: Board, season: int | None = None) -> dict[str, list[Result]]:
        found = super().results(board, season)
        if isinstance(board, Minutely):
            counting = {
                user: [r for r in rows if r.session_id not in self.late] for user, rows in found.items()
            }
            return {user: rows for user, rows in counting.items() if rows}
        return found

    def take(self, session: Session, now: int) -> None:
        """Record a session that arrives at `now` (microseconds)."""
        assert self.record(session) == "recorded"
        if session.played_at // 60_000_000 * 60 + 60 + GRACE < now / 1_000_000:
            self.late.add(session.session_id)

    def score(self, board: str, season: int, user: str) -> int | None:
        """Return what a user has on a board, banned or not."""
        found = self.results(self.boards[board], season).get(user)
        return None if found is None else fold(self.boards[board], found)[0]


Effect = Callable[[World], object]
Matches = Callable[["State"], bool]


class State:
    """A world that may have been, and its standings, each worked out once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._standings: dict[tuple[str, int], list[Standing]] = {}

    def standings(self, board: str, season: int = 0) -> list[Standing]:
        """Return the whole standings of a season."""
        found = self._standings.get((board, season))
        if found is None:
            found = self._standings[board, season] = self.world.standings(board, season)
        return found

    def line(self, board: str, season: int, user: str) -> Standing | None:
        """Return a user's line."""
        return next((line for line in self.standings(board, season) if line.user_id == user), None)


@dataclass
class Did:
    """A call: when it began and ended (counted), what it changed, what its answer says.

    Each of `effects` happens at once, at a moment of its own.
    """

    began: int
    ended: int = 0
    what: str = ""
    effects: list[Effect] = field(default_factory=list)
    checks: list[tuple[str, Matches]] = field(default_factory=list)

    def says(self, what: str, matches: Matches) -> None:
        """Note something the answer says: in words, and whether a state agrees."""
        self.checks.append((what, matches))


class Judge:
    """Judges the answers of calls that were made side by side from one world on."""

    def __init__(self, world: World, calls: list[Did]) -> None:
        self._world = world
        self._calls = calls
        self._effects = [(call, effect) for call in calls for effect in call.effects]
        self._states: dict[frozenset[int], State] = {}

    def wrong(self) -> list[str]:
        """Return what was answered that no state agrees with; then, if there is any, all that happened."""
        found = [
            f"{call.what}: {what}"
            for call in self._calls
            for what, matches in call.checks
            if not any(matches(state) for state in self._possible(call))
        ]
        if found:
            found += [f"{call.began}..{call.ended} {call.what}" for call in self._calls]
            found += [f"before: {name} {self._world.standings(name)}" for name in self._world.boards]
            found += [f"banned {self._world.banned}, void {self._world.voided}"]
        return found

    def after(self) -> World:
        """Return the world after all calls."""
        return self._state(frozenset(range(len(self._effects)))).world

    def _possible(self, asking: Did) -> Iterator[State]:
        before, beside = set(), []
        for n, (call, _) in enumerate(self._effects):
            if call is asking or call.ended < asking.began:
                before.add(n)
            elif call.began < asking.ended:
                beside.append(n)
        for size in range(len(beside) + 1):
            for some in combinations(beside, size):
                yield self._state(frozenset(before.union(some)))

    def _state(self, applied: frozenset[int]) -> State:
        found = self._states.get(applied)
        if found is None:
            world = self._world.copy()
            for n in sorted(applied):
                self._effects[n][1](world)
            found = self._states[applied] = State(world)
        return found


def session_of(body: dict[str, Any]) -> Session:
    """Return a body of ours as the model's session."""
    scores = {result["user_id"]: result["score"] for result in body["results"]}
    return Session(
        UUID(body["session_id"]),
        scores,
        microseconds(datetime.fromisoformat(body["played_at"])),
        body["mode"],
    )
