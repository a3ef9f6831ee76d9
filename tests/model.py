"""The obviously right leaderboard: keeps every session, works everything out anew at each question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from shared.messages import Operator, Order, Ties
from shared.names import MAX_SCORE


@dataclass(frozen=True)
class Board:
    """A leaderboard's definition."""

    operator: Operator = "sum"
    order: Order = "desc"
    ties: Ties = "competition"
    modes: frozenset[str] | None = None
    min_score: int = 0
    max_score: int = MAX_SCORE
    hours: int = 0
    """How long a season lasts, the first one from 1970 on; 0: for ever."""

    def takes(self, mode: str | None) -> bool:
        return self.modes is None or mode in self.modes

    def season(self, played_at: int) -> int:
        """Return the start, in Unix seconds, of the season of a time in microseconds."""
        return played_at // (self.hours * 3_600_000_000) * self.hours * 3600 if self.hours else 0


@dataclass(frozen=True)
class Session:
    """One play: who scored what, when (microseconds since 1970)."""

    session_id: UUID
    scores: Mapping[str, int]
    played_at: int
    mode: str | None = None


class Result(NamedTuple):
    """One player's score, as the fold sees it."""

    played_at: int
    session_id: UUID
    score: int


class Standing(NamedTuple):
    """One line of the standings."""

    rank: int
    user_id: str
    score: int
    ties: int


@dataclass
class Game:
    """A game: its leaderboards, its sessions, who is banned, what is void."""

    boards: dict[str, Board] = field(default_factory=lambda: {"global": Board()})
    sessions: dict[UUID, Session] = field(default_factory=dict)
    banned: set[str] = field(default_factory=set)
    voided: set[UUID] = field(default_factory=set)
    erased: set[tuple[UUID, str]] = field(default_factory=set)

    def record(self, session: Session) -> str:
        """Record a session; return `recorded`, or `replayed`, or the code of the error."""
        known = self.sessions.get(session.session_id)
        if known is not None:
            return "replayed" if known == session else "session_conflict"
        for board in self.boards.values():
            fitting = all(board.min_score <= score <= board.max_score for score in session.scores.values())
            if board.takes(session.mode) and not fitting:
                return "score_out_of_bounds"
        self.sessions[session.session_id] = session
        for board in self.boards.values():
            for results in self.results(board).values():
                if abs(fold(board, results)[0]) > MAX_SCORE:
                    del self.sessions[session.session_id]
                    return "score_total_out_of_range"
        return "recorded"

    def erase(self, user_id: str) -> None:
        """Forget a user: results so far count for nobody; who comes back begins anew."""
        played = [each.session_id for each in self.sessions.values() if user_id in each.scores]
        self.erased |= {(session_id, user_id) for session_id in played}
        self.banned.discard(user_id)

    def users(self) -> list[str]:
        """Return who is known, in order."""
        played = {(s.session_id, user) for s in self.sessions.values() for user in s.scores}
        return sorted({user for _, user in played - self.erased})

    def results(self, board: Board, season: int | None = None) -> dict[str, list[Result]]:
        """Return what counts on a board (in one season, or whenever), by user."""
        found = defaultdict(list)
        for session in self.sessions.values():
            if season not in (None, board.season(session.played_at)):
                continue
            if session.session_id not in self.voided and board.takes(session.mode):
                for user_id, score in session.scores.items():
                    is_known = (session.session_id, user_id) not in self.erased
                    if is_known and board.min_score <= score <= board.max_score:
                        found[user_id].append(Result(session.played_at, session.session_id, score))
        return found

    def standings(self, name: str, season: int = 0) -> list[Standing]:
        """Return the whole leaderboard of a season, best first."""
        board = self.boards[name]
        folded = {u: fold(board, r) for u, r in self.results(board, season).items() if u not in self.banned}
        sign = -1 if board.order == "desc" else 1
        keys = [
            (sign * s, time if board.ties == "first" else 0, u.encode()) for u, (s, time) in folded.items()
        ]
        scores = [key[0] for key in keys]
        lines = []
        for place, (score, _, user_id) in enumerate(sorted(keys), start=1):
            better = [each for each in scores if each < score]
            rank = {"competition": len(better) + 1, "dense": len(set(better)) + 1, "first": place}[board.ties]
            lines.append(Standing(rank, user_id.decode(), sign * score, scores.count(score)))
        return lines


class Range(NamedTuple):
    """How many players there are from one score up to another, both in it."""

    lowest: int
    highest: int
    players: int


def distribution(board: Board, scores: list[int], buckets: int) -> list[Range]:
    """Cut what scores span into ranges as equal as can be, from the best one; return the lowest first."""
    sign = -1 if board.order == "desc" else 1
    keys = [sign * score for score in scores]
    least, span = min(keys), max(keys) - min(keys) + 1
    buckets = min(buckets, span)
    cuts = [least + i * span // buckets for i in range(buckets + 1)]
    ranges = []
    for start, end in pairwise(cuts):
        low, high = sorted((sign * start, sign * (end - 1)))
        ranges.append(Range(low, high, sum(start <= key < end for key in keys)))
    return sorted(ranges)


def fold(board: Board, results: list[Result]) -> tuple[int, int]:
    """Return a user's score, and the time that counts when scores are equal and the first one is ahead."""
    times = [result.played_at for result in results]
    scores = [result.score for result in results]
    if board.operator == "sum":
        changing = [result.played_at for result in results if result.score]
        return sum(scores), max(changing) if changing else min(times)
    if board.operator == "count":
        return len(results), max(times)
    if board.operator == "latest":
        return max(results).score, max(times)
    best = max(scores) if board.order == "desc" else min(scores)
    return best, min(result.played_at for result in results if result.score == best)
