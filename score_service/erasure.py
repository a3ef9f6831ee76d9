"""Users erased at their wish: out of every board at once, out of every table and copy within the hour.

What must outlive the answer for a while, so that late applies and loads cannot bring the user back, are
tombstones and their versions in the index; a row of `erasures` names them until they have gone too.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
from redis.exceptions import ResponseError

from score_service.batch import Changed, changes, users_of
from score_service.committer import Committer
from score_service.index import Applier
from score_service.moderation import by_ranking
from score_service.store import SQL, Truth
from shared.boards import Game, board_from_row
from shared.errors import StoreUnavailable, not_found
from shared.events import ProfileChanged, publish
from shared.index import RankingIndex
from shared.names import clean, is_user_id
from shared.postgres import Connection, Pool, slowly, translated
from shared.profiles import forget
from shared.ranking import Ranking

log = logging.getLogger(__name__)

TOMBSTONES_AFTER = timedelta(minutes=20)
"""When an erased user's tombstones go: by then no apply from before the erasure is on its way."""

TRACES_AFTER = timedelta(minutes=40)
"""When the versions in the index go: by then no load that read the tombstones is under way."""

AT_ONCE = 100
"""Erasures one run goes on with."""


class Erasure:
    """Erases users, and clears away behind itself.

    Args:
        index: a connection that may take its time.
    """

    def __init__(self, pool: Pool, committer: Committer, applier: Applier, index: RankingIndex) -> None:
        self._pool = pool
        self._committer = committer
        self._applier = applier
        self._index = index

    async def erase(self, game: Game, user_id: str, key_id: str) -> None:
        """Take a user out of everything; sessions keep the scores, under ids that nobody can have.

        Raises:
            LeaderboardError: `user_not_found`, also of one erased before.
        """
        if not is_user_id(user_id):
            raise _unknown(game, user_id)
        with translated():
            async with slowly(self._pool) as connection, connection.transaction():
                # Alone behind the gate: no batch may go on with entries that are on their way out.
                await connection.execute(SQL["gate_exclusively"], game.game_id)
                # A fold of old months into a base must have ended, or not have begun.
                await connection.execute(SQL["lock_leaderboards"], game.game_id)
                await connection.execute(SQL["lock_builds"], game.game_id)
                nobody = await connection.fetchval(SQL["erase_user"], game.game_id, user_id)
                if nobody is None:
                    raise _unknown(game, user_id)
                await connection.execute(SQL["note_bans"], game.game_id)
                current = await Truth(connection).game(game.game)
                assert current is not None, "a game is never deleted"
                await connection.execute(SQL["lock_seasons_of_user"], game.game_id, user_id)
                await connection.execute(SQL["unseal_seasons_of_user"], game.game_id, user_id)
                rows = await connection.fetch(SQL["erase_entries"], game.game_id, user_id)
                entries = by_ranking(current.counting, rows)
                await connection.execute(SQL["audit"], game.game_id, key_id, "erase", nobody, None)
                await connection.execute(SQL["note_erasure"], game.game_id, user_id)
                queued = [*orjson.loads(changes(users_of(entries))), [game.game_id, [user_id]]]
                outbox_id = await connection.fetchval(SQL["queue"], orjson.dumps(queued).decode())
        await self._apply(game, user_id, entries, outbox_id)

    async def _apply(self, game: Game, user_id: str, entries: Changed, outbox_id: int) -> None:
        try:
            await self._applier.apply([entries])
            hint = publish(ProfileChanged(game.game_id, user_id))
            await self._index.send([], [forget(game.game_id, [user_id]), hint])
        except StoreUnavailable as error:
            log.warning("an erasure's copies are left to the outbox worker: %s", error)
        else:
            self._committer.applied.add(outbox_id)

    async def clear_away(self) -> None:
        """Remove what was still needed of users erased a while ago; on any replica, any number of times."""
        with translated():
            async with slowly(self._pool) as connection, connection.transaction():
                for row in await connection.fetch(SQL["claim_erasures"], TOMBSTONES_AFTER, AT_ONCE):
                    await connection.execute(SQL["delete_erased"], *row)
            async with slowly(self._pool) as connection, connection.transaction():
                rows = await connection.fetch(SQL["claim_traces"], TRACES_AFTER, AT_ONCE)
                if rows:
                    await self._clear_copies(connection, rows)
                    await connection.execute(SQL["drop_erasures"], [row["erasure_id"] for row in rows])
            await self._pool.execute(SQL["purge_erased_results"])

    async def _clear_copies(self, connection: Connection, rows: Sequence[Any]) -> None:
        boards = {
            row["leaderboard_id"]: board_from_row(row) for row in await connection.fetch(SQL["all_boards"])
        }
        users: dict[Ranking, list[tuple[str, int]]] = {}
        profiles: dict[int, list[str]] = {}
        for row in rows:
            profiles.setdefault(row["game_id"], []).append(row["user_id"])
            for leaderboard_id, generation, season, version in orjson.loads(row["rankings"]):
                board = boards.get(leaderboard_id)
                # Keys alone matter here, and they do not depend on ties and order.
                ranking = (
                    Ranking(leaderboard_id, generation, season, "competition", "desc")
                    if board is None
                    else board.ranking_of(generation, season)
                )
                users.setdefault(ranking.part_of(row["user_id"]), []).append((row["user_id"], version))
        commands = [self._index.purge(ranking, each) for ranking, each in users.items()]
        forgotten = [forget(game_id, ids) for game_id, ids in profiles.items()]
        for reply in await self._index.send(commands, forgotten):
            if isinstance(reply, ResponseError):
                raise StoreUnavailable(f"copies of erased users stay for now: {reply}") from reply


def _unknown(game: Game, user_id: str) -> Exception:
    return not_found("user", f"{game.game} has no user {clean(user_id)!r}")
