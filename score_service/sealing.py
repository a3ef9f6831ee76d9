"""Seasons are closed and sealed, each exactly once, by whichever replica comes first.

Two steps. A season is closed in a moment, alone behind the game's gate: whatever batch was let in
before has committed, and none that comes after adds to it. Then it is sealed with the gate open:
its final ranks are stored in bulk, with a digest, under the lock of its row. A crash in between
leaves it closed, for the next run of anyone.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from prometheus_client import Counter

from score_service import rules
from score_service.store import SQL
from shared.errors import StoreUnavailable
from shared.events import publish_entries
from shared.index import RankingIndex
from shared.postgres import Connection, Pool, in_time, slowly, translated
from shared.ranking import Ranking

log = logging.getLogger(__name__)

CHUNK = 5_000
"""Lines of standings read at once for their digest."""

LONGEST = 600.0
"""Seconds a statement of a sealing may take: see `take_long`."""

SEALED = Counter("leaderboard_seasons_sealed_total", "Seasons whose standings were sealed, again ones too.")


class Sealer:
    """Closes and seals the seasons whose time is up."""

    def __init__(self, pool: Pool, index: RankingIndex) -> None:
        self._pool = pool
        self._index = index

    async def run(self) -> int:
        """Close what is due, then seal what is closed, the oldest first; return how many were sealed."""
        await self.close_due()
        sealed = 0
        while await self._seal_next():
            sealed += 1
        return sealed

    async def close_due(self) -> None:
        """Close the seasons that take no results any more."""
        with translated():
            for game in await self._pool.fetch(SQL["games_due"]):
                async with slowly(self._pool, LONGEST) as connection, connection.transaction():
                    # Batches inside decided by their clock that a season was open: they must be through.
                    await connection.execute(SQL["gate_exclusively"], game["game_id"])
                    await connection.execute(SQL["close_seasons"], game["game_id"])

    async def _seal_next(self) -> bool:
        with translated():
            async with slowly(self._pool, LONGEST) as connection, connection.transaction():
                row = await connection.fetchrow(SQL["claim_closed_season"])
                if row is None:
                    return False
                key = row["leaderboard_id"], row["generation"], row["season"]
                total, digest = await _seal(connection, key, row["ties"])
                await connection.execute(SQL["announce_season"], *key)
        SEALED.inc()
        about = {"leaderboard": row["leaderboard"], "season": row["season"], "digest": digest}
        log.info("sealed a season of %d entries", total, extra=about)
        ranking = Ranking(
            *key, row["ties"], row["sort_order"], shards=row["index_shards"], layout=row["index_layout"]
        )
        await self._drop_index(ranking)
        return True

    async def _drop_index(self, ranking: Ranking) -> None:
        """Sealed standings are read from Postgres: their copy goes, at the latest when it is long unused."""
        try:
            dropped = [("DEL", *part.keys) for part in ranking.parts]
            await self._index.send([], [*dropped, publish_entries(ranking, [])])
        except StoreUnavailable as error:
            log.warning("the index of a sealed season is left to expire: %s", error)


async def _seal(connection: Connection, key: tuple[int, int, int], ties: str) -> tuple[int, str]:
    """Store a season's final standings; return how many they are and their digest."""
    await connection.execute(SQL["take_long"])
    await connection.execute(SQL["forget_standings"], *key)
    await connection.execute(SQL["store_standings"], *key, ties)
    total, digest = await digest_of(connection, key)
    await connection.execute(SQL["seal_season"], *key, total, digest)
    return total, digest


async def digest_of(connection: Connection, key: tuple[int, int, int]) -> tuple[int, str]:
    """Return how many lines a season's stored standings have, and their digest."""
    digest = hashlib.sha256()
    total = 0
    starting: Any = connection.cursor(SQL["stored_standings"], *key)
    cursor = await in_time(connection, starting)
    while rows := await in_time(connection, cursor.fetch(CHUNK)):
        total += len(rows)
        digest.update(b"".join(rules.standing_line(*row) for row in rows))
    return total, digest.hexdigest()
