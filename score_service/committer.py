"""The group commit: sessions that arrive while one batch commits are the next batch.

One batch is one statement, a READ COMMITTED transaction of its own, however many results it holds. It
acts on what is presumed of the rules, the closed months and the database's clock, and records nothing
when any of that does not hold any more: then the committer looks again. What is decided about each
session is an outcome, not an exception, so one bad session costs the others nothing; one that breaks a
batch all the same is found by bisecting.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from operator import attrgetter
from time import time_ns
from typing import NamedTuple
from uuid import UUID

import asyncpg
from prometheus_client import Counter, Histogram

from score_service import rules
from score_service.batch import (
    Batch,
    Counting,
    EntryKey,
    Key,
    Outcome,
    Submission,
    by_place,
    changed,
    changes,
    entries,
    fold,
    history,
    is_beyond,
    leave_out_wild,
    played_at,
    uncounted,
)
from score_service.seasons import Closings, Played
from score_service.store import Recorded, Recording, SeasonRow, Truth, columns
from shared.boards import Game
from shared.errors import LeaderboardError, StoreUnavailable
from shared.names import MAX_SCORE, clean, datetime_of, microseconds
from shared.postgres import Pool, is_new, translated

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
FOR_EVER = 2**62
"""A time, in microseconds, that never comes."""

GLANCES = 5
"""How often a batch is tried at once when what was presumed of it does not hold."""

PAUSE = 0.05
"""Seconds before a failed batch is tried again, on average; doubled each time up to a second."""

OUT_OF_RANGE = "score_total_out_of_range"
BEYOND = f"the history holds totals past {MAX_SCORE} in magnitude for this definition"
"""Why a definition on its way cannot be: its totals would not be exact."""


class Moment(NamedTuple):
    """What a batch acts on: the database's clock, and the periods that are closed.

    Closed are those from `first_period` up to, not including, `closed_until`.
    """

    now: datetime
    first_period: date
    closed_until: date


class _Moved(Exception):
    """What is presumed did not hold `GLANCES` times."""


class _Undone(Exception):
    """A batch was not recorded, so neither may the seasons be that were opened for it."""

    def __init__(self, verdict: str) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class _OutOfRange(Exception):
    """Totals left the range of exact integers; the batch is rolled back and split."""

    def __init__(self, keys: set[EntryKey]) -> None:
        super().__init__(f"{len(keys)} totals out of range")
        self.keys = keys


Result = Outcome | BaseException


class Tried(NamedTuple):
    """What became of an attempt (see `Verdict`), and what was in it."""

    what: str
    counting: list[Counting]
    batch: Batch | None = None
    failed: frozenset[tuple[int, int]] = frozenset()
    """Generations being built whose totals are out of range."""


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
        self._doubted: set[int] = set()
        """Games that are looked up again whatever the version of their rules: it may be another server's."""
        self._seen: Moment | None = None
        self._ahead = 0
        """Microseconds by which the database's clock is ahead of ours."""

        self.applied: set[int] = set()
        """Rows of the outbox whose changes are applied. Batches and the worker drop them, side by side: each
        takes out what it has dropped, whatever has been added or taken out meanwhile."""

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
        batch.sort(key=attrgetter("order"))
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
            except (*CONTENTION, _Moved, StoreUnavailable) as error:
                for submission in batch:  # of the others it is certain that they recorded nothing
                    submission.tried |= isinstance(error, StoreUnavailable)
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
        game_ids = sorted({submission.game.game_id for submission in batch})
        known: dict[Key, Recorded] = {}
        async with self._pool.acquire() as connection:
            if is_new(connection):
                self._doubt()
            truth = Truth(connection)
            present = self._presumed(game_ids)
            looked = present is None
            for _ in range(GLANCES):
                if present is None:
                    present = await self._look(truth, game_ids)
                fresh, refused = self._admitted([s for s in batch if s.key not in known], present)
                if refused and not looked:  # nothing is refused on a presumption
                    present, looked = None, True
                    continue
                tried = await self._try(truth, fresh, present)
                if tried.what == "recorded":
                    break
                if tried.what == "moved":
                    present, looked = None, True
                else:
                    known |= await truth.classify_sessions([_key_of(s) for s in fresh])
            else:
                raise _Moved
            if refused or tried.failed:
                known |= await self._follow_up(truth, [s for s in batch if s.key in refused], tried)
        recorded = {each.submission.key: each.counts for each in tried.counting}
        return [
            Outcome(
                present.now if submission.played is None else datetime_of(submission.played),
                present.now,
                replayed=False,
                counts=recorded[submission.key],
                batch=tried.batch,
            )
            if submission.key in recorded
            else _classified(submission, known.get(submission.key), refused.get(submission.key))
            for submission in batch
        ]

    async def _follow_up(self, truth: Truth, refused: list[Submission], tried: Tried) -> dict[Key, Recorded]:
        """Look whether refused sessions are known: what was recorded before that is a replay all the same."""
        for each in tried.counting:  # whatever fails from here on, these are recorded
            each.submission.tried = True
        if tried.failed:
            # A definition that cannot be must not keep anyone from recording: it is what fails.
            await truth.fail_builds(sorted(tried.failed), OUT_OF_RANGE, BEYOND)
        return await truth.classify_sessions([_key_of(s) for s in refused]) if refused else {}

    def _presumed(self, game_ids: list[int]) -> Moment | None:
        """Return the present as it should be by what was seen last; None when too little was."""
        seen = self._seen
        if seen is None or not self._games.keys() - self._doubted >= set(game_ids):
            return None
        return seen._replace(now=datetime_of(_clock() + self._ahead))

    def _doubt(self) -> None:
        """Believe nothing any more: not the rules, not the clock, not that seasons have rows."""
        self._seen = None
        self._doubted = set(self._games)
        self.closings = Closings(self.closings.grace)

    async def _look(self, truth: Truth, game_ids: list[int]) -> Moment:
        """Bring the definitions up to what the gate protects; return the database's moment."""
        in_force = await truth.enter_gate(game_ids)
        for game_id, name, version, archived, *_ in in_force:
            known = None if game_id in self._doubted else self._games.get(game_id)
            if known is None or known.rules_version != version or known.archived != archived:
                game = await truth.game(name)
                assert game is not None, "a game is never deleted, only archived"
                self._games[game_id] = game
                self._doubted.discard(game_id)
        first = in_force[0]
        now = max(row["now"] for row in in_force)
        self._ahead = microseconds(now) - _clock()
        self._seen = Moment(now, first["first_period"], first["closed_until"])
        return self._seen

    def _admitted(
        self, batch: list[Submission], present: Moment
    ) -> tuple[list[Submission], dict[Key, LeaderboardError]]:
        """Tell sessions that may be recorded from those that may not, and why."""
        fresh: list[Submission] = []
        refused: dict[Key, LeaderboardError] = {}
        for submission in batch:
            error = self._refusal(submission, present)
            if error is None:
                fresh.append(submission)
            else:
                refused[submission.key] = error
        return fresh, refused

    def _refusal(self, submission: Submission, present: Moment) -> LeaderboardError | None:
        """Return why a session may not be recorded now; checks here can change with time."""
        game = self._games[submission.game.game_id]
        session = submission.session
        if game.archived:
            return LeaderboardError("game_not_found", f"there is no game {clean(game.game)!r}")
        if present.first_period <= submission.period < present.closed_until:
            detail = f"sessions with an id from before {present.closed_until} are no longer accepted"
            return LeaderboardError("session_too_old", detail)
        return rules.check_time(submission.session_id, session.played_at, present.now) or rules.check_bounds(
            game.counting, session.mode, session.results
        )

    async def _try(self, truth: Truth, fresh: list[Submission], present: Moment) -> Tried:
        """Record sessions; seasons they are the first to count in get their rows with them, or not at all."""
        known = self.closings
        unknown = known.unknown(self._played(submission, present.now) for submission in fresh)
        if not unknown:
            return await self._record(truth, fresh, known, present)
        try:
            async with truth.transaction():
                closings = await self._open_seasons(truth, fresh, unknown, known)
                tried = await self._record_whole(truth, fresh, closings, present)
        except _Undone as undone:
            return Tried(undone.verdict, [])
        known.learn(closings)  # nothing, should it be doubted by now
        return tried

    async def _record_whole(
        self, truth: Truth, fresh: list[Submission], closings: Closings, present: Moment
    ) -> Tried:
        tried = await self._record(truth, fresh, closings, present)
        if tried.what != "recorded":
            raise _Undone(tried.what)
        return tried

    async def _record(
        self, truth: Truth, fresh: list[Submission], closings: Closings, present: Moment
    ) -> Tried:
        """Append sessions and fold them into their entries, in one statement; return what it said."""
        counting = [self._counted(submission, closings, present.now) for submission in fresh]
        if not counting:
            return Tried("recorded", counting)
        now = microseconds(present.now)
        folds = fold(counting, now)
        built = {board.generation_key for each in counting for board, _ in each.feeds}
        failed = leave_out_wild(folds, built) if built else set()
        versions = {s.game.game_id: self._games[s.game.game_id].rules_version for s, _, _ in counting}
        dropped = [*islice(self.applied, 1000)]
        sent = _clock()
        named = {r: folded.parts for r, folded in folds.items() if r.generation_key not in built}
        verdict = await truth.record(
            Recording(
                games=([*versions], [*versions.values()]),
                presumed=(now, *_span(counting, closings, now)),
                outbox=(changes(named), dropped),
                history=history(counting, now),
                entries=entries(folds),
                building=columns(sorted(built), 2),
                nowhere=columns(sorted(uncounted(counting)), 2),
            )
        )
        if verdict.what == "beyond":
            (row,) = verdict.entries
            raise _OutOfRange({(by_place(folds)[row.place], row.user_id)})
        if verdict.what != "recorded":
            return Tried(verdict.what, counting)
        self.applied.difference_update(dropped)
        # Between our sending and our getting its answer the database's clock was there.
        self._ahead = min(max(self._ahead, verdict.moment - _clock()), verdict.moment - sent)
        found = changed(verdict, folds)
        if built:  # nobody reads them yet: they have no index
            failed |= {r.generation_key for r, rows in found.items() if is_beyond(rows)}
            found = {r: rows for r, rows in found.items() if r.generation_key not in built}
        return Tried(verdict.what, counting, Batch(verdict.outbox_id, found), frozenset(failed))

    async def _open_seasons(
        self, truth: Truth, submissions: list[Submission], unknown: list[SeasonRow], known: Closings
    ) -> Closings:
        """See to it that seasons that still take results have rows; return what is known of seasons then."""
        in_force = await truth.enter_gate(sorted({s.game.game_id for s in submissions}))
        if any(row["rules_version"] != self._games[row["game_id"]].rules_version for row in in_force):
            raise _Undone("moved")
        opened = max(row["now"] for row in in_force)
        return known.extended(unknown, await truth.open_seasons(unknown, known.grace, opened))

    def _played(self, submission: Submission, now: datetime) -> Played:
        """Return the leaderboards in force and on their way, the mode and the time of a session."""
        game = self._games[submission.game.game_id]
        boards = (*game.counting, *game.builds)
        return boards, submission.session.mode, submission.session.played_at or now

    def _counted(self, submission: Submission, closings: Closings, now: datetime) -> Counting:
        """Return where a session counts, and what it feeds."""
        game = self._games[submission.game.game_id]
        played = submission.session.mode, submission.session.played_at or now, now
        feeds = closings.counts(game.builds, *played) if game.builds else []
        return Counting(submission, closings.counts(game.counting, *played), feeds)


def _clock() -> int:
    """Return our own time in microseconds since 1970."""
    return time_ns() // 1000


def _span(counting: list[Counting], closings: Closings, now: int) -> tuple[int, int]:
    """Return from when, and until when (not included), all of these count where they were found to."""
    since, until = 0, FOR_EVER
    for submission, counts, feeds in counting:
        for board, ranking in (*counts, *feeds):
            if board.calendar is None:
                continue
            closes = closings.of(board, board.season_at(played_at(submission, now) // 1_000_000))
            if ranking is None:
                since = max(since, closes)
            else:
                until = min(until, closes)
    return since, until


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


def _key_of(submission: Submission) -> tuple[int, date, UUID]:
    return (submission.game.game_id, submission.period, submission.session_id)


def _board_name(game: Game, leaderboard_id: int) -> str:
    return next((b.leaderboard for b in game.boards.values() if b.leaderboard_id == leaderboard_id), "?")
