"""Users' profiles: written to Postgres, their copies in Redis invalidated before the answer."""

from __future__ import annotations

import logging

from score_service.committer import Committer
from score_service.store import SQL
from shared.boards import Game
from shared.errors import StoreUnavailable, invalid
from shared.events import ProfileChanged, publish
from shared.messages import ProfileIn, ProfileOut
from shared.names import clean, is_user_id
from shared.postgres import Pool, translated
from shared.profiles import forget
from shared.wire import Line

log = logging.getLogger(__name__)


class Users:
    """Keeps profiles.

    Args:
        committer: drops outbox rows whose work is done.
        wire: the connection to Redis for what is said at once.
    """

    def __init__(self, pool: Pool, committer: Committer, line: Line) -> None:
        self._pool = pool
        self._committer = committer
        self._line = line

    async def put(self, game: Game, user_id: str, body: ProfileIn) -> tuple[ProfileOut, bool]:
        """Create or replace a user's profile; return it and whether the user is new.

        Raises:
            LeaderboardError: `invalid_request`, the id breaks its rule.
        """
        if not is_user_id(user_id):
            raise invalid("user_id", f"{clean(user_id)!r} must match [A-Za-z0-9][A-Za-z0-9_.:@-]{{0,63}}")
        with translated():
            row = await self._pool.fetchrow(
                SQL["put_profile"], game.game_id, user_id, body.display_name, body.country, body.avatar_url
            )
        assert row is not None, "an upsert returns its row"
        await self._invalidate(game.game_id, user_id, row["outbox_id"])
        profile = ProfileOut(row["user_id"], row["display_name"], row["country"], row["avatar_url"])
        return profile, row["is_new"]

    async def _invalidate(self, game_id: int, user_id: str, outbox_id: int) -> None:
        hint = publish(ProfileChanged(game_id, user_id))
        try:
            await self._line.send([forget(game_id, [user_id]), hint])
        except StoreUnavailable as error:
            log.warning("a profile's copies are left to the outbox worker: %s", error)
        else:
            self._committer.applied.add(outbox_id)
