"""Fallback reads from a standby, as long as no answered write can be missing there.

That takes `synchronous_commit = remote_apply` and a standby the primary waits for. What can be seen of
it is looked at all the time; at the first doubt the primary is asked, as it is without a standby.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Gauge

from rank_service.store import SQL
from shared.errors import StoreUnavailable
from shared.postgres import Pool, translated

TRUSTED = Gauge("leaderboard_rank_standby_trusted", "Whether fallback reads go to the standby.")


class Standby:
    """A standby and the primary behind it, asked like a pool."""

    def __init__(self, primary: Pool, standby: Pool) -> None:
        self._primary = primary
        self._standby = standby
        self._written = 0
        self.trusted = False

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Run a read where it may be run."""
        if self.trusted:
            try:
                with translated():
                    rows: list[Any] = await self._standby.fetch(query, *args)
            except StoreUnavailable:
                self._trust(False)
            else:
                return rows
        return await self._primary.fetch(query, *args)

    async def look(self) -> None:
        """Decide whether the standby is to be asked.

        Raises:
            StoreUnavailable: one of the two cannot be asked; until it can be, the primary is.
        """
        written, self._written = self._written, 0
        trusted = False
        try:
            with translated():
                primary = await self._primary.fetchrow(SQL["primary_state"])
                standby = await self._standby.fetchrow(SQL["standby_state"])
            if primary is not None and standby is not None:
                # The standby of an old primary has another timeline than its successor.
                same = all(primary[name] == standby[name] for name in ("system_identifier", "timeline"))
                # One that has not applied what was written a look ago does not follow this primary.
                follows = standby["applied"] is not None and standby["applied"] >= written > 0
                trusted = same and primary["waits"] and follows
                self._written = primary["written"]
        finally:
            self._trust(trusted)

    def _trust(self, trusted: bool) -> None:
        self.trusted = trusted
        TRUSTED.set(trusted)
