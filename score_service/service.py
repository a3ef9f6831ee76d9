"""What happens to a session, in what order: validate, commit with others, apply, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET
from prometheus_client import Counter, Gauge

from score_service import rules
from score_service.applying import Applying, Committed
from score_service.batch import Batch, EntryKey, Outcome, Submission
from score_service.committer import Committer
from score_service.history import History
from score_service.index import Applier, Places
from score_service.seasons import Counted
from shared.boards import Game, Games
from shared.coalesce import LATER, Coalescer
from shared.errors import StoreUnavailable
from shared.messages import EntryChange, ResultOut, SessionIn, SessionOut
from shared.names import microseconds, period_of, season_id, uuid7
from shared.ranking import Board, Place

SESSIONS = Counter("leaderboard_sessions_total", "Sessions answered, by outcome.", ["outcome"])
_RECORDED, _REPLAYED = SESSIONS.labels("recorded"), SESSIONS.labels("replayed")
WAITING = Gauge("leaderboard_sessions_waiting", "Sessions that wait for a commit.")

AHEAD = 0.05
"""Seconds before its deadline at which a session is answered without ranks, so that the answer arrives; a
quarter of its time where that is less."""

Standings = dict[EntryKey, tuple[int, Place | None]]


class Sessions:
    """Records sessions.

    Args:
        batch: the most results committed together.
        queue: the most sessions waiting for a commit; past it callers get `overloaded`.
        lanes: commits in flight at once.
        crowd: sessions waiting when a commit starts beside one in flight.
    """

    def __init__(
        self,
        games: Games,
        committer: Committer,
        applier: Applier,
        history: History,
        *,
        batch: int,
        queue: int,
        lanes: int,
        crowd: int,
    ) -> None:
        self._games = games
        self._committer = committer
        self._applier = applier
        self._history = history
        self._applying = Applying(committer, applier)
        self._replays: set[asyncio.Task[None]] = set()
        self._commits = Coalescer(
            self._flush, name="commit", batch=batch, queue=queue, lanes=lanes, crowd=crowd, weigh=_weight
        )
        WAITING.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """How many sessions wait for a commit."""
        return self._commits.waiting

    async def record(self, game: Game, session: SessionIn, deadline: float) -> tuple[SessionOut, bool]:
        """Record one session; return the answer and whether it is a replay.

        Args:
            deadline: when the caller stops waiting, by the loop's clock.

        Raises:
            LeaderboardError: the session breaks a rule, or the queue is full.
            StoreUnavailable: Postgres cannot be reached; nothing is known to be recorded.
            TimeoutError: the deadline passed; the outcome is not known.
        """
        rules.check_session(session)
        session_id = session.session_id or uuid7()
        now = datetime.now(UTC)
        counts = self._committer.closings.counts(game.counting, session.mode, session.played_at or now, now)
        rankings = [ranking for _, ranking in counts if ranking is not None]
        if self._applier.any_cold(rankings):
            async with asyncio.timeout_at(deadline):
                await self._applier.warm(rankings)
        played = None if session.played_at is None else microseconds(session.played_at)
        period, fingerprint = period_of(session_id), rules.fingerprint(session)
        submission = Submission(game, session, session_id, period, fingerprint, played)
        submission.future = future = self._commits.get(submission)
        loop = future.get_loop()
        ahead = min(AHEAD, (deadline - loop.time()) / 4)
        timer = loop.call_at(deadline - ahead, _expire, submission)
        try:
            outcome, found = await future
        finally:
            timer.cancel()
        if outcome.batch is not None:
            return _answer(submission, outcome, outcome.batch, found), False
        return _replay(submission, outcome, found), outcome.replayed

    async def close(self) -> None:
        """Commit and apply what was accepted."""
        await self._commits.close()
        await self._applying.close()
        if self._replays:
            await asyncio.wait(self._replays)

    async def _flush(self, submissions: Sequence[Submission]) -> Sequence[Any]:
        results: list[Any] = list(await self._committer.commit(submissions))
        batches: dict[int, list[Committed]] = {}
        replays: list[Committed] = []
        for i, (submission, result) in enumerate(zip(submissions, results, strict=True)):
            if isinstance(result, Outcome):
                submission.outcome = result
                group = replays if result.batch is None else batches.setdefault(id(result.batch), [])
                group.append((submission, result))
                results[i] = LATER
        # Applied, or looked up, while the next batch commits; then the sessions of this one are answered.
        for committed in batches.values():
            self._applying.hand_over(committed)
        if replays:
            task = asyncio.create_task(self._settle_replays(replays), name="settle replays")
            self._replays.add(task)
            task.add_done_callback(self._replays.discard)
        return results

    async def _settle_replays(self, replays: list[Committed]) -> None:
        """Look up the entries of sessions that were recorded before, all at once, and give them out."""
        found: Standings | BaseException
        try:
            found = await self._standings(replays)
        except Exception as error:  # noqa: BLE001  every caller learns of it
            found = error
        for submission, outcome in replays:
            submission.give(found if isinstance(found, BaseException) else (outcome, found))

    async def _standings(self, replays: list[Committed]) -> Standings:
        keys: dict[EntryKey, None] = {}
        counting = [
            (submission, outcome, (await self._games.get(submission.game.game)).counting)
            for submission, outcome in replays
            if not outcome.voided
        ]
        # Not by our own grace: their seasons may have begun with another.
        played = [(boards, s.session.mode, outcome.played_at) for s, outcome, boards in counting]
        closings = await self._history.closings(self._committer.closings, played)
        for submission, outcome, boards in counting:
            outcome.counts = closings.counts(
                boards, submission.session.mode, outcome.played_at, outcome.recorded_at
            )
            for _, ranking in outcome.counts:
                if ranking is not None:
                    keys.update(dict.fromkeys((ranking, r.user_id) for r in submission.session.results))
        scores = await self._history.scores(list(keys))
        try:
            places = await self._applier.places(scores)
        except StoreUnavailable:
            places = {}
        return {key: (score, places.get(key)) for key, score in scores.items()}


def _answer(submission: Submission, outcome: Outcome, batch: Batch, placed: Places) -> SessionOut:
    _RECORDED.inc()
    results = [
        ResultOut(
            result.user_id,
            result.score,
            [_change(counted, result.user_id, batch, placed) for counted in outcome.counts],
        )
        for result in submission.session.results
    ]
    return SessionOut(submission.session_id, outcome.played_at, results)


def _change(counted: Counted, user_id: str, batch: Batch, placed: Places) -> EntryChange:
    board, ranking = counted
    if ranking is None:
        return _closed(board)
    season = season_id(ranking.season)
    found = placed.get(ranking)
    place = None if found is None else found.get(user_id)
    if place is None or place.score is None:
        return EntryChange(board.leaderboard, season, batch.scores[ranking, user_id], None, None, None)
    # A later batch may have been applied first: then score and rank are both of that moment.
    return EntryChange(board.leaderboard, season, place.score, place.rank, place.previous_rank, place.ties)


def _replay(submission: Submission, outcome: Outcome, standings: Standings) -> SessionOut:
    """Answer a session that was recorded before with its entries as they are now; a void one with none."""
    _REPLAYED.inc()
    results = [
        ResultOut(
            result.user_id,
            result.score,
            [
                change
                for counted in outcome.counts
                if (change := _standing(counted, result.user_id, standings)) is not None
            ],
        )
        for result in submission.session.results
    ]
    voided = True if outcome.voided else UNSET
    return SessionOut(submission.session_id, outcome.played_at, results, voided)


def _standing(counted: Counted, user_id: str, standings: Standings) -> EntryChange | None:
    board, ranking = counted
    if ranking is None:
        return _closed(board)
    if (ranking, user_id) not in standings:
        return None
    score, place = standings[ranking, user_id]
    season = season_id(ranking.season)
    # Its first try may have been committed and not been applied: then the index does not have it yet.
    if place is None or place.score != score:
        return EntryChange(board.leaderboard, season, score, None, None, None)
    return EntryChange(board.leaderboard, season, place.score, place.rank, place.rank, place.ties)


def _closed(board: Board) -> EntryChange:
    return EntryChange(board.leaderboard, None, reason="season_closed")


def _expire(submission: Submission) -> None:
    """Answer who can wait no longer: without ranks where the session is recorded by now."""
    outcome = submission.outcome
    if outcome is not None and outcome.batch is not None:
        submission.give((outcome, {}))
    else:
        submission.give(TimeoutError())


def _weight(submission: Submission) -> int:
    return len(submission.session.results)
