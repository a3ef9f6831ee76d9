"""The group commit: sessions that arrive while one batch commits are the next batch.

One batch is one READ COMMITTED transaction with a fixed number of statements, however many
results it holds. What it decides about each session is an outcome, not an exception, so one bad
session costs the others nothing; one that breaks a batch all the same is found by bisecting.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson
from prometheus_client import Counter, Histogram

from score_service import rules
from score_service.seasons import Closings, Counted, Played
from score_service.store import MERGES, EntryRow, Fold, Recorded, ResultRow, SessionRow, Transaction
from shared.boards import Game
from shared.errors import LeaderboardError, StoreUnavailable
from shared.messages import SessionIn
from shared.names import MAX_SCORE, clean, microseconds
from shared.postgres import Pool, translated
from shared.ranking import Ranking

log = logging.getLogger(__name__)

BATCHES = Counter("leaderboard_batches_total", "Group commits by outcome.", ["outcome"])
BATCH_SESSIONS = Histogram(
    "leaderboard_batch_sessions",
    "Sessions in a group commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
COMMIT_SECONDS = Histogram(
    "leaderboard_commit_seconds",
    "Time of a group commit's transaction.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5),
)

# The order between two transactions, not their content, is what failed: the same batch may pass.
CONTENTION = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)
PAUSE = 0.05
"""Seconds before a failed batch is tried again, on average; doubled each time up to a second."""

Key = tuple[int, UUID]
EntryKey = tuple[Ranking, str]


@dataclass(slots=True, eq=False)
class Submission:
    """One session on its way into the history."""

    game: Game
    session: SessionIn
    session_id: UUID
    period: date
    fingerprint: bytes
    future: asyncio.Future[Any] | None = None
    """Where its outcome goes; set by whoever queues it."""

    tried: bool = False
    """Sent to Postgres before, with an outcome we did not learn: a replay of it may be our own."""

    @property
    def key(self) -> Key:
        """What makes it unique."""
        return (self.game.game_id, self.session_id)


@dataclass(slots=True)
class Outcome:
    """What became of a submission; `counts` is empty for a replay."""

    played_at: datetime
    recorded_at: datetime
    replayed: bool
    voided: bool = False
    counts: list[Counted] = field(default_factory=list)
    batch: Batch | None = None


@dataclass(slots=True)
class Batch:
    """What one committed batch changed: applied to the index once, on behalf of all its sessions."""

    outbox_id: int
    entries: dict[EntryKey, EntryRow]


class Moment(NamedTuple):
    """What a batch acts on, as the database has it: its clock, and the periods that are closed.

    Closed are those from `first_period` up to, not including, `closed_until`.
    """

    now: datetime
    first_period: date
    closed_until: date
    has_bans: bool


class _OutOfRange(Exception):
    """Totals left the range of exact integers; the batch is rolled back and split."""

    def __init__(self, keys: set[EntryKey]) -> None:
        super().__init__(f"{len(keys)} totals out of range")
        self.keys = keys


Result = Outcome | BaseException


class Winner(NamedTuple):
    """A session that was inserted; `feeds` is what it adds to besides: definitions on their way."""

    submission: Submission
    counts: list[Counted]
    feeds: list[Counted]


OUT_OF_RANGE = "score_total_out_of_range"
BEYOND = f"the history holds totals past {MAX_SCORE} in magnitude for this definition"
"""Why a definition on its way cannot be: its totals would not be exact."""


class Committer:
    """Commits batches of submissions; `applied` collects outbox ids to drop with the next batch.

    Args:
        retry_seconds: how long a batch is tried again.
        grace: how long after its end a season takes late results.
    """

    def __init__(self, pool: Pool, *, retry_seconds: float, grace: timedelta) -> None:
        self._pool = pool
        self._retry_seconds = retry_seconds
        self.closings = Closings(grace)
        self._games: dict[int, Game] = {}
        self.applied: list[int] = []

    async def commit(self, submissions: Sequence[Submission]) -> list[Result]:
        """Record submissions; return an outcome or an error for each, in order."""
        results: dict[int, Result] = {}
        waiting = list(submissions)
        while waiting:
            batch: dict[Key, Submission] = {}
            again: list[Submission] = []
            for submission in waiting:
                if submission.key in batch:  # the same session twice at once: the second is a replay
                    again.append(submission)
                else:
                    batch[submission.key] = submission
            for submission, result in await self._settle(list(batch.values())):
                results[id(submission)] = result
            waiting = again
        return [results[id(submission)] for submission in submissions]

    async def _settle(self, batch: list[Submission]) -> list[tuple[Submission, Result]]:
        """Commit a batch of different sessions, splitting it as long as it breaks."""
        if not batch:
            return []
        batch.sort(key=attrgetter("game.game_id", "period", "session_id"))
        try:
            outcomes = await self._insist(batch)
            return list(zip(batch, outcomes, strict=True))
        except _OutOfRange as error:
            return await self._set_apart(batch, error.keys)
        except StoreUnavailable as error:
            BATCHES.labels("unavailable").inc()
            return [(submission, error) for submission in batch]
        except Exception as error:
            BATCHES.labels("broken").inc()
            if len(batch) == 1:
                log.exception("a session breaks its batch", extra={"session_id": str(batch[0].session_id)})
                return [(batch[0], error)]
            middle = len(batch) // 2
            return await self._settle(batch[:middle]) + await self._settle(batch[middle:])

    async def _set_apart(
        self, batch: list[Submission], keys: set[EntryKey]
    ) -> list[tuple[Submission, Result]]:
        """Run the sessions that touch the totals in `keys` alone, after the others."""
        if len(batch) == 1:
            ranking, user_id = next(iter(keys))
            name = _board_name(batch[0].game, ranking.leaderboard_id)
            detail = f"the total of {user_id} on {name} would pass {MAX_SCORE} in magnitude"
            return [(batch[0], LeaderboardError("score_total_out_of_range", detail))]
        users = {user_id for _, user_id in keys}
        suspects = [s for s in batch if any(result.user_id in users for result in s.session.results)]
        others = [submission for submission in batch if submission not in suspects]
        settled = await self._settle(others)
        for suspect in suspects:
            settled += await self._settle([suspect])
        return settled

    async def _insist(self, batch: list[Submission]) -> list[Result]:
        """Run the transaction; again on contention and lost connections, until time is up."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._retry_seconds
        pause = PAUSE
        while True:
            try:
                with translated(), COMMIT_SECONDS.time():
                    outcomes = await self._transact(batch)
            except (*CONTENTION, StoreUnavailable) as error:
                for submission in batch:
                    submission.tried = True
                if loop.time() + pause > give_up:
                    raise StoreUnavailable("the batch could not be committed in time") from error
                log.warning("a batch is tried again: %r", error, extra={"sessions": len(batch)})
                BATCHES.labels("retried").inc()
                await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311
                pause = min(pause * 2, 1.0)
            else:
                BATCHES.labels("committed").inc()
                BATCH_SESSIONS.observe(len(batch))
                return outcomes

    async def _transact(self, batch: list[Submission]) -> list[Result]:
        dropped = self.applied[:1000]
        async with self._pool.acquire() as connection, connection.transaction():
            transaction = Transaction(connection)
            game_ids = sorted({submission.game.game_id for submission in batch})
            moment = await self._read_rules(transaction, game_ids)
            now = moment.now
            refused = {
                submission.key: error
                for submission in batch
                if (error := self._refusal(submission, moment)) is not None
            }
            fresh = [submission for submission in batch if submission.key not in refused]
            closings = await self._open_seasons(transaction, fresh, now)
            rows = [_session_row(submission, now) for submission in fresh]
            inserted = await transaction.record_sessions(rows, now) if rows else set()
            winners = {s.key: self._counted(s, closings, now) for s in fresh if s.key in inserted}
            losers = [submission for submission in batch if submission.key not in inserted]
            known: dict[Key, Recorded] = {}
            if losers:
                keys = [(s.game.game_id, s.period, s.session_id) for s in losers]
                known = await transaction.classify_sessions(keys)
            changed = (
                await self._write(transaction, [*winners.values()], moment, dropped) if winners else None
            )
        self.closings.learn(closings)
        if changed is not None:
            del self.applied[: len(dropped)]
        return [
            Outcome(
                submission.session.played_at or now,
                now,
                replayed=False,
                counts=winners[submission.key].counts,
                batch=changed,
            )
            if submission.key in winners
            else _classified(submission, known.get(submission.key), refused.get(submission.key))
            for submission in batch
        ]

    async def _read_rules(self, transaction: Transaction, game_ids: list[int]) -> Moment:
        """Bring the definitions up to what the gate protects; return the database's moment."""
        in_force = await transaction.enter_gate(game_ids)
        for game_id, name, version, archived, *_ in in_force:
            known = self._games.get(game_id)
            if known is None or known.rules_version != version or known.archived != archived:
                game = await transaction.game(name)
                assert game is not None, "a game is never deleted, only archived"
                self._games[game_id] = game
        first = in_force[0]
        has_bans = any(row["has_bans"] for row in in_force)
        now = max(row["now"] for row in in_force)
        return Moment(now, first["first_period"], first["closed_until"], has_bans)

    def _refusal(self, submission: Submission, moment: Moment) -> LeaderboardError | None:
        """Return why a session may not be recorded now; checks here can change with time."""
        game = self._games[submission.game.game_id]
        session = submission.session
        if game.archived:
            return LeaderboardError("game_not_found", f"there is no game {clean(game.game)!r}")
        if moment.first_period <= submission.period < moment.closed_until:
            detail = f"sessions with an id from before {moment.closed_until} are no longer accepted"
            return LeaderboardError("session_too_old", detail)
        return rules.check_time(submission.session_id, session.played_at, moment.now) or rules.check_bounds(
            game.counting, session.mode, session.results
        )

    async def _write(
        self, transaction: Transaction, winners: list[Winner], moment: Moment, dropped: list[int]
    ) -> Batch:
        """Append the results of new sessions and fold them into their entries."""
        now = moment.now
        folds = _fold(winners, now)
        built = {(b.leaderboard_id, b.generation) for winner in winners for b, _ in winner.feeds}
        folds, failed = _sound(folds, built) if built else (folds, set())
        users = sorted({(s.game.game_id, r.user_id) for s, _, _ in winners for r in s.session.results})
        if moment.has_bans:
            games = {
                board.leaderboard_id: board.game_id for w in winners for board, _ in (*w.counts, *w.feeds)
            }
            banned = await transaction.banned_users(users)
            folds = [f._replace(hidden=(games[f.ranking.leaderboard_id], f.user_id) in banned) for f in folds]
        outbox_id, rows = await transaction.record_results(
            [fold for fold in folds if fold.operator not in MERGES],
            users,
            [_session_row(winner.submission, now) for winner in winners],
            [
                row
                for at, winner in enumerate(winners, start=1)
                for row in _result_rows(at, winner.submission)
            ],
            changes([(f.ranking, f.user_id) for f in folds if f.ranking.generation_key not in built]),
            dropped,
        )
        for operator in MERGES:
            if part := [fold for fold in folds if fold.operator == operator]:
                rows += await transaction.merge(operator, part)
        rankings = {
            (f.ranking.leaderboard_id, f.ranking.generation, f.ranking.season): f.ranking for f in folds
        }
        entries = {(rankings[r.leaderboard_id, r.generation, r.season], r.user_id): r for r in rows}
        beyond = {key for key, row in entries.items() if abs(row.sort_key) > MAX_SCORE}
        if refused := {key for key in beyond if key[0].generation_key not in built}:
            raise _OutOfRange(refused)
        if failed := failed | {ranking.generation_key for ranking, _ in beyond}:
            # A definition that cannot be must not keep anyone from recording: it is what fails.
            await transaction.fail_builds(sorted(failed), OUT_OF_RANGE, BEYOND)
        if built:  # nobody reads them yet: they have no index
            entries = {key: row for key, row in entries.items() if key[0].generation_key not in built}
        return Batch(outbox_id, entries)

    async def _open_seasons(
        self, transaction: Transaction, submissions: list[Submission], now: datetime
    ) -> Closings:
        """See to it that every season these may count in has its row; return what is known of seasons then.

        It is this batch's own until that has committed: rolled back, the rows are gone.
        """
        unknown = self.closings.unknown(self._played(submission, now) for submission in submissions)
        if not unknown:
            return self.closings
        found = await transaction.open_seasons(unknown, self.closings.grace, now)
        return self.closings.extended(unknown, found)

    def _played(self, submission: Submission, now: datetime) -> Played:
        """Return the leaderboards in force and on their way, the mode and the time of a session."""
        game = self._games[submission.game.game_id]
        boards = (*game.counting, *game.builds)
        return boards, submission.session.mode, submission.session.played_at or now

    def _counted(self, submission: Submission, closings: Closings, now: datetime) -> Winner:
        """Return where a session counts, and what it feeds."""
        game = self._games[submission.game.game_id]
        played = submission.session.mode, submission.session.played_at or now, now
        feeds = closings.counts(game.builds, *played) if game.builds else []
        return Winner(submission, closings.counts(game.counting, *played), feeds)


def _fold(winners: list[Winner], now: datetime) -> list[Fold]:
    """Merge the contributions of a batch, one for each entry, sorted by the entries' key."""
    merged: dict[EntryKey, Fold] = {}
    for submission, counts, feeds in winners:
        session = submission.session
        played_at = microseconds(session.played_at or now)
        for board, ranking in (*counts, *feeds):
            if ranking is None:
                continue
            operator = board.operator
            for result in session.results:
                if feeds and not board.takes(result.score):  # bounds on their way refuse nothing: they skip
                    continue
                part = rules.contribution(operator, ranking, result.score, played_at, submission.session_id)
                key = (ranking, result.user_id)
                if (before := merged.get(key)) is not None:
                    part = rules.merge(operator, before.contribution, part)
                merged[key] = Fold(ranking, result.user_id, operator, part)
    return sorted(merged.values(), key=_entry_order)


def _sound(folds: list[Fold], built: set[tuple[int, int]]) -> tuple[list[Fold], set[tuple[int, int]]]:
    """Leave out what alone is past any total in generations being built; return whose it is."""
    wild = [
        fold
        for fold in folds
        if abs(fold.contribution.sort_key) > MAX_SCORE and fold.ranking.generation_key in built
    ]
    left = [fold for fold in folds if fold not in wild] if wild else folds
    return left, {fold.ranking.generation_key for fold in wild}


def _classified(
    submission: Submission, recorded: Recorded | None, refusal: LeaderboardError | None
) -> Result:
    """Decide about a session that was not inserted: a replay, a conflict, or refused."""
    if recorded is None:
        return refusal or StoreUnavailable("the session was neither recorded nor found")
    remains = recorded.remains
    same = (
        recorded.fingerprint == submission.fingerprint
        if remains is None
        else rules.fits(submission.session, remains)
    )
    if not same:
        detail = f"session {submission.session_id} was recorded with other content"
        return LeaderboardError("session_conflict", detail)
    # Our own earlier try went through: its caller has had no answer yet, so to them it is new.
    return Outcome(
        recorded.played_at, recorded.recorded_at, replayed=not submission.tried, voided=recorded.voided
    )


def _session_row(submission: Submission, now: datetime) -> SessionRow:
    return SessionRow(
        submission.game.game_id,
        submission.period,
        submission.session_id,
        submission.fingerprint,
        submission.session.mode,
        submission.session.played_at or now,
    )


def _result_rows(at: int, submission: Submission) -> list[ResultRow]:
    return [
        ResultRow(
            at,
            result.user_id,
            result.score,
            None if result.metadata is None else rules.canonical(result.metadata).decode(),
        )
        for result in submission.session.results
    ]


def _entry_order(fold: Fold) -> tuple[int, int, int, str]:
    ranking = fold.ranking
    return (ranking.leaderboard_id, ranking.generation, ranking.season, fold.user_id)


def changes(keys: Sequence[EntryKey]) -> str:
    """Name changed entries, sorted by ranking, as the outbox keeps them (JSON)."""
    return orjson.dumps(
        [
            [ranking.leaderboard_id, ranking.generation, ranking.season, [user_id for _, user_id in group]]
            for ranking, group in groupby(keys, key=itemgetter(0))
        ]
    ).decode()


def _board_name(game: Game, leaderboard_id: int) -> str:
    return next((b.leaderboard for b in game.boards.values() if b.leaderboard_id == leaderboard_id), "?")
