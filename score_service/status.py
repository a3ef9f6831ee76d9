"""How the whole does, for an operator's eye: the stores, the outbox, who is alive."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

from score_service.store import SQL
from shared.answers import OutboxStatus, Status, StoreStatus
from shared.errors import StoreUnavailable
from shared.heartbeat import Heart, alive
from shared.postgres import Pool, translated
from shared.wire import Line


class Watcher:
    """Looks at the stores and at who is alive."""

    def __init__(self, pool: Pool, line: Line, heart: Heart) -> None:
        self._pool = pool
        self._line = line
        self._heart = heart

    async def look(self) -> Status:
        """Return the state of the whole; what cannot be asked is said to be down."""
        postgres, outbox = await self._ask_postgres()
        started = perf_counter()
        try:
            services = await alive(self._line)
            redis = StoreStatus(ok=True, milliseconds=_since(started))
        except StoreUnavailable:
            services, redis = [], StoreStatus(ok=False)
        me = self._heart.now()
        others = [beat for beat in services if (beat.service, beat.instance) != (me.service, me.instance)]
        return Status(datetime.now(UTC), postgres, redis, outbox, [me, *others])

    async def _ask_postgres(self) -> tuple[StoreStatus, OutboxStatus | None]:
        started = perf_counter()
        try:
            with translated():
                row = await self._pool.fetchrow(SQL["outbox_backlog"])
        except StoreUnavailable:
            return StoreStatus(ok=False), None
        assert row is not None, "an aggregate has a row"
        return StoreStatus(ok=True, milliseconds=_since(started)), OutboxStatus(row["batches"], row["age"])


def _since(started: float) -> float:
    return round((perf_counter() - started) * 1000, 3)
