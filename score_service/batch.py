"""What a batch is: sessions on their way into the history, and what they add to entries. No I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from score_service import rules
from score_service.rules import Contribution
from score_service.seasons import Counted
from score_service.store import EntryRow, Verdict, columns, sparse
from shared.boards import Game
from shared.coalesce import tell
from shared.messages import SessionIn
from shared.names import MAX_SCORE
from shared.ranking import Board, Ranking

Key = tuple[int, int]
"""What makes a session unique: its game and its id, as a number."""

EntryKey = tuple[Ranking, str]
Changed = Mapping[Ranking, Sequence[EntryRow]]
"""Entries that changed."""


_SORT_KEY = attrgetter("sort_key")


@dataclass(slots=True, eq=False)
class Submission:
    """One session on its way into the history."""

    game: Game
    session: SessionIn
    session_id: UUID
    period: date
    fingerprint: bytes
    played: int | None
    """When it was played, in microseconds; None: when it is recorded."""

    future: asyncio.Future[Any] | None = None
    """Where its outcome goes; set by whoever queues it."""

    outcome: Outcome | None = None
    """What became of it, once that is known; its future may still wait for ranks."""

    key: Key = field(init=False)
    order: tuple[int, date, int] = field(init=False)
    """By which sessions are sorted wherever they are locked."""

    tried: bool = False
    """Sent to Postgres before, with an outcome we did not learn: a replay of it may be our own."""

    def __post_init__(self) -> None:
        self.key = (self.game.game_id, self.session_id.int)
        self.order = (self.key[0], self.period, self.key[1])

    def give(self, outcome: Any) -> None:
        """Tell whoever waits, if anyone still does, what became of it: an exception is raised there."""
        if self.future is not None:
            tell(self.future, outcome)


@dataclass(slots=True)
class Outcome:
    """What became of a submission; `counts` is empty for a replay."""

    played_at: datetime
    recorded_at: datetime
    replayed: bool
    voided: bool = False
    counts: list[Counted] = field(default_factory=list)
    batch: Batch | None = None


@dataclass
class Batch:
    """What one committed batch changed: applied to the index once, on behalf of all its sessions."""

    outbox_id: int
    entries: Changed

    @property
    def size(self) -> int:
        """How many entries it changed."""
        return sum(map(len, self.entries.values()))

    @cached_property
    def scores(self) -> dict[EntryKey, int]:
        """The score of each entry."""
        return {(r, row.user_id): r.score(row.sort_key) for r, rows in self.entries.items() for row in rows}


class Folded(NamedTuple):
    """What a batch adds to the entries of one ranking, by user."""

    board: Board
    parts: dict[str, Contribution]


class Counting(NamedTuple):
    """A session that may be recorded; `feeds` is what it adds to besides: definitions on their way."""

    submission: Submission
    counts: list[Counted]
    feeds: list[Counted]


def played_at(submission: Submission, now: int) -> int:
    """Return when a session was played, in microseconds."""
    return now if submission.played is None else submission.played


def fold(counting: list[Counting], now: int) -> dict[Ranking, Folded]:
    """Merge the contributions of a batch, one for each entry, sorted by the rankings' keys."""
    folds: dict[Ranking, Folded] = {}
    for submission, counts, feeds in counting:
        at = played_at(submission, now)
        for board, ranking in (*counts, *feeds) if feeds else counts:
            if ranking is None:
                continue
            folded = folds.get(ranking)
            if folded is None:
                folded = folds[ranking] = Folded(board, {})
            parts, operator = folded.parts, board.operator
            for result in submission.session.results:
                if feeds and not board.takes(result.score):  # bounds on their way refuse nothing: they skip
                    continue
                part = rules.contribution(operator, ranking, result.score, at, submission.session_id)
                before = parts.get(result.user_id)
                parts[result.user_id] = part if before is None else rules.merge(operator, before, part)
    return folds if len(folds) == 1 else {r: folds[r] for r in sorted(folds, key=_place)}


def leave_out_wild(folds: dict[Ranking, Folded], built: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Leave out what alone is past any total in generations being built; return whose it is."""
    failed = set()
    for ranking, (_, parts) in folds.items():
        if ranking.generation_key in built:
            for user_id in [user for user, part in parts.items() if abs(part.sort_key) > MAX_SCORE]:
                del parts[user_id]
                failed.add(ranking.generation_key)
    return failed


def history(counting: list[Counting], now: int) -> list[Sequence[Any] | None]:
    """Return the places, sessions and results of a batch."""
    places: dict[tuple[int, date], int] = {}
    at, ids, fingerprints, modes, played = [], [], [], [], []
    owners, users, scores, metadata = [], [], [], []
    for number, (submission, _, _) in enumerate(counting, start=1):
        at.append(places.setdefault(submission.order[:2], len(places) + 1))
        ids.append(submission.session_id)
        fingerprints.append(submission.fingerprint)
        modes.append(submission.session.mode)
        played.append(played_at(submission, now))
        for result in submission.session.results:
            owners.append(number)
            users.append(result.user_id)
            scores.append(result.score)
            metadata.append(_encoded(result.metadata))
    return [
        *columns([*places], 2),
        *(at if len(places) > 1 else None, ids, fingerprints, sparse(modes), played),
        *(owners if len(owners) > len(ids) else None, users, scores, sparse(metadata)),
    ]


def uncounted(counting: list[Counting]) -> set[tuple[int, str]]:
    """Return the users, by game, of sessions that count nowhere: no entry tells whether they are known."""
    return {
        (submission.game.game_id, result.user_id)
        for submission, counts, _ in counting
        if all(ranking is None for _, ranking in counts)
        for result in submission.session.results
    }


def _encoded(metadata: Any) -> str | None:
    return None if metadata is None else rules.canonical(metadata).decode()


def entries(folds: dict[Ranking, Folded]) -> list[Sequence[Any] | None]:
    """Return the rankings of a batch, and what it adds to their entries."""
    heads: list[Any] = []
    at, users, parts = [], [], []
    for number, (ranking, folded) in enumerate(folds.items(), start=1):
        board = folded.board
        head = (board.game_id, *_place(ranking), ranking.score(1), ranking.ties == "first", board.operator)
        heads.append(head)
        ordered = sorted(folded.parts)
        at += [number] * len(ordered)
        users += ordered
        parts += [folded.parts[user_id] for user_id in ordered]
    keys, reached, sessions = columns(parts, 3)
    more = at if len(heads) > 1 else None
    return [*columns(heads, 7), more, users, keys, reached, sparse(sessions)]


def changed(verdict: Verdict, folds: dict[Ranking, Folded]) -> dict[Ranking, list[EntryRow]]:
    """Return the entries of a recorded batch by ranking, best first."""
    # The index finds the place of each by a way that mostly is still in the processor's caches.
    rows = sorted(verdict.entries, key=_SORT_KEY)
    if len(folds) == 1:
        return dict.fromkeys(folds, rows)
    entries: dict[Ranking, list[EntryRow]] = {ranking: [] for ranking in folds}
    rankings = by_place(folds)
    for row in rows:
        entries[rankings[row.place]].append(row)
    return entries


def _place(ranking: Ranking) -> tuple[int, int, int]:
    return (ranking.leaderboard_id, ranking.generation, ranking.season)


def by_place(rankings: Iterable[Ranking]) -> dict[tuple[int, int, int], Ranking]:
    """Return rankings by leaderboard, generation and season."""
    return {_place(ranking): ranking for ranking in rankings}


def is_beyond(rows: Iterable[EntryRow]) -> bool:
    """Say whether a total is out of the range of exact integers."""
    return any(abs(row.sort_key) > MAX_SCORE for row in rows)


def changes(entries: Mapping[Ranking, Iterable[str]]) -> str:
    """Name changed entries, users by ranking, as the outbox keeps them (JSON)."""
    return orjson.dumps([[*_place(ranking), [*users]] for ranking, users in entries.items()]).decode()


def users_of(entries: Changed) -> dict[Ranking, list[str]]:
    """Return whose entries these are."""
    return {ranking: [row.user_id for row in rows] for ranking, rows in entries.items()}
