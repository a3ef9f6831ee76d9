"""Who is someone, where are they ranked, what have they played."""

from __future__ import annotations

import asyncio

from msgspec import Raw

from rank_service.answers import Answers
from rank_service.questions import Places, Stood
from rank_service.seasons import Seasons
from rank_service.store import Store
from shared.answers import PlayedSession, PlayedSessions, UserDetails, UserEntry, UserList
from shared.boards import Game
from shared.cursors import Position, cursor_of
from shared.errors import not_found
from shared.messages import ProfileOut
from shared.names import clean, is_user_id
from shared.ranking import Board


class Users:
    """Answers questions about users."""

    def __init__(self, store: Store, answers: Answers, seasons: Seasons) -> None:
        self._store = store
        self._answers = answers
        self._seasons = seasons

    async def get(self, game: Game, user_id: str, deadline: float) -> UserDetails:
        """Return a profile with all entries, in the order of the leaderboards' ids.

        Raises:
            LeaderboardError: `user_not_found`.
        """
        profile = await self._profile(game, user_id)
        boards = sorted(
            (board for board in game.boards.values() if board.status == "ready"),
            key=lambda board: board.leaderboard,
        )
        found = await asyncio.gather(*(self._entry(board, user_id, deadline) for board in boards))
        return UserDetails(
            profile.user_id,
            profile.display_name,
            profile.country,
            profile.avatar_url,
            entries=[entry for entry in found if entry is not None],
        )

    async def search(self, game: Game, text: str, limit: int) -> UserList:
        """Return users whose id or display name begins with `text`, in the order of their ids."""
        return UserList(await self._store.search_users(game.game_id, text, limit))

    async def sessions(self, game: Game, user_id: str, after: Position | None, limit: int) -> PlayedSessions:
        """Return a page of a user's history.

        Raises:
            LeaderboardError: `user_not_found`.
        """
        await self._profile(game, user_id)
        rows = await self._store.sessions_of_user(game.game_id, user_id, after, limit + 1)
        sessions = [
            PlayedSession(
                row["session_id"],
                row["mode"],
                row["played_at"],
                row["score"],
                None if row["metadata"] is None else Raw(row["metadata"].encode()),
                row["voided"],
            )
            for row in rows[:limit]
        ]
        more = len(rows) > limit
        last = cursor_of(Position(sessions[-1].played_at, sessions[-1].session_id)) if more else None
        return PlayedSessions(sessions, last)

    async def _profile(self, game: Game, user_id: str) -> ProfileOut:
        profile = await self._store.user(game.game_id, user_id) if is_user_id(user_id) else None
        if profile is None:
            raise not_found("user", f"{game.game} has no user {clean(user_id)!r}")
        return profile

    async def _entry(self, board: Board, user_id: str, deadline: float) -> UserEntry | None:
        stood: Stood
        asked = self._seasons.current(board)
        _, stood = await self._answers.ask(Places(asked.ranking, board.game_id, (user_id,)), deadline)
        place = stood.places[0]
        if place is None:
            return None
        return UserEntry(board.leaderboard, asked.season.id, place.rank, place.score, place.ties, stood.total)
