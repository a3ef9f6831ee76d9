"""Sealed seasons announced to a leaderboard's webhook: signed, tried again, told apart by an id.

The transaction that seals a season writes the announcement, so it survives whatever happens next. Any replica
takes it from there: for as long as an attempt may take it is that replica's, then anyone's again. A receiver
may so hear of one sealing more than once, always under the same id, and of none that did not happen. Those of
one leaderboard come in the order of their sealing: the next when the one before was delivered, or given up.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest as hmac
from random import random
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from prometheus_client import Counter, Gauge

from score_service import rules
from score_service.store import SQL
from score_service.upstream import TIMEOUT, Receivers, Undelivered, check_url, refused_without_secret
from shared.answers import Announced, Announcement, WebhookOut
from shared.boards import Game
from shared.names import season_id
from shared.postgres import Connection, Pool, translated
from shared.seasons import moment_of

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Attempts one process makes at once, each of another leaderboard."""

LEASE = timedelta(seconds=TIMEOUT + 5)
"""How long an announcement is the replica's that took it."""

TOP = 10
"""Places told of a season."""

LISTED = 20
"""Announcements of a leaderboard that are listed."""

KEPT = timedelta(days=90)
"""How long announcements that have ended are listed."""

GONE = 410
"""A receiver that answers so wants to hear no more of this."""

ATTEMPTS = Counter(
    "leaderboard_webhook_attempts_total",
    "Attempts to announce a sealed season, by what came of them.",
    ["outcome"],
)
ATTEMPTS.labels("given_up")  # from zero: what begins with its first count shows no increase
WAITING = Gauge("leaderboard_webhooks_waiting", "Announcements of sealed seasons not delivered yet.")
OLDEST = Gauge("leaderboard_webhook_oldest_seconds", "Age of the oldest of them.")


class SeasonTold(msgspec.Struct, frozen=True):
    """The season an announcement is about."""

    id: str
    starts_at: datetime
    ends_at: datetime


class PlaceTold(msgspec.Struct, frozen=True):
    """One of its first places."""

    rank: int
    user_id: str
    score: int


class Event(msgspec.Struct, frozen=True):
    """The body of an announcement; `previous_digest` is that of standings it replaces."""

    id: str
    type: str
    timestamp: datetime
    game: str
    leaderboard: str
    season: SeasonTold
    total: int
    digest: str
    previous_digest: str | None
    top: list[PlaceTold]


class Webhooks:
    """Announces sealed seasons.

    Args:
        secrets: what announcements are signed with, by each; none: nothing is announced.
        private: receivers may have private addresses, and speak plain http.
        patience: how long an announcement is tried.
    """

    def __init__(
        self, pool: Pool, receivers: Receivers, secrets: Sequence[str], *, private: bool, patience: timedelta
    ) -> None:
        self._pool = pool
        self._receivers = receivers
        self._keys = [key_of(secret) for secret in secrets]
        self._private = private
        self._patience = patience

    def check(self, url: str | UnsetType | None) -> None:
        """Check a webhook before it is put.

        Raises:
            LeaderboardError: `invalid_request`.
        """
        if url is None or url is UNSET:
            return
        if not self._keys:
            raise refused_without_secret()
        check_url(str(url), private=self._private)

    async def look(self, game: Game, leaderboard: str) -> WebhookOut:
        """Return a leaderboard's webhook and its announcements.

        Raises:
            LeaderboardError: `leaderboard_not_found`.
        """
        game.board(leaderboard)
        with translated():
            url = await self._pool.fetchval(SQL["webhook_of_leaderboard"], game.game_id, leaderboard)
            rows = await self._pool.fetch(
                SQL["announcements_of_leaderboard"], game.game_id, leaderboard, LISTED
            )
        return WebhookOut(
            url, [Announcement(row[0], season_id(row[1]), *row[2:]) for row in map(tuple, rows)]
        )

    async def run(self) -> None:
        """Try what is due."""
        with translated():
            row = await self._pool.fetchrow(SQL["waiting_announcements"])
            assert row is not None, "an aggregate has a row"
            WAITING.set(row["waiting"])
            OLDEST.set(row["age"])
            taken = AT_ONCE if self._keys else 0
            while taken == AT_ONCE:
                rows = await self._pool.fetch(SQL["claim_announcements"], AT_ONCE, LEASE)
                taken = len(rows)
                async with asyncio.TaskGroup() as attempts:
                    for each in rows:
                        attempts.create_task(self._attempt(each))

    async def purge(self) -> None:
        """Forget what ended long ago."""
        with translated():
            await self._pool.execute(SQL["purge_announcements"], KEPT)

    async def _attempt(self, row: Any) -> None:
        about = {name: row[name] for name in ("game", "leaderboard", "season", "event_id", "attempts")}
        if row["url"] is None or row["sealed_digest"] not in (None, row["digest"]):
            # Sealed anew, defined anew, dropped, or nobody wants to know: others tell what there is to tell.
            await self._settle(row, "outdated", None)
            return
        if row["sealed_digest"] is None:  # about to be sealed anew, perhaps as it was
            await self._settle(row, "waiting", "the season waits to be sealed anew", outcome="postponed")
            return
        try:
            status = await self._send(row)
            error = None if 200 <= status < 300 else f"answered {status}"
        except Undelivered as failure:
            status, error = 0, str(failure)
        if error is None:
            await self._settle(row, "delivered", None)
        elif status == GONE or row["age"] > self._patience.total_seconds():
            log.error("a webhook is given up: %s", error, extra=about)
            await self._settle(row, "given_up", error)
        else:
            log.warning("a webhook failed: %s", error, extra=about)
            await self._settle(row, "waiting", error)

    async def _send(self, row: Any) -> int:
        key = row["leaderboard_id"], row["generation"], row["season"]
        top = await self._pool.fetch(SQL["best_of_season"], *key, TOP)
        event = Event(
            id=row["event_id"],
            type="season.sealed",
            timestamp=row["sealed_at"],
            game=row["game"],
            leaderboard=row["leaderboard"],
            season=SeasonTold(season_id(row["season"]), moment_of(row["season"]), row["ends_at"]),
            total=row["total"],
            digest=row["digest"],
            previous_digest=row["previous_digest"],
            top=[PlaceTold(*place) for place in top],
        )
        body = msgspec.json.encode(event)
        return await self._receivers.post(
            row["url"], signed(self._keys, event.id, datetime.now(UTC), body), body
        )

    async def _settle(self, row: Any, status: Announced, error: str | None, outcome: str = "failed") -> None:
        ATTEMPTS.labels(outcome if status == "waiting" else status).inc()
        again = timedelta(seconds=rules.webhook_pause(row["attempts"], random()))  # noqa: S311  keeps no secret
        ident = row["announcement_id"], row["attempts"]
        await self._pool.execute(SQL["settle_announcement"], *ident, status, again, error)


async def put(connection: Connection, game_id: int, leaderboard: str, url: str | UnsetType | None) -> bool:
    """Set a leaderboard's webhook in a transaction, or take it away; return whether that changed anything."""
    if url is UNSET:
        return False
    if url is None:
        done = await connection.execute(SQL["delete_webhook"], game_id, leaderboard)
        return bool(done != "DELETE 0")
    return bool(await connection.fetchval(SQL["put_webhook"], game_id, leaderboard, url))


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret: `whsec_` and base64 as Standard Webhooks has it, or any other text."""
    kind, _, text = secret.partition("_")
    return b64decode(text + "=" * (-len(text) % 4)) if kind == "whsec" else secret.encode()


def signed(keys: Sequence[bytes], event_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of an attempt, with a signature by each key (Standard Webhooks, `v1`)."""
    timestamp = str(int(now.timestamp()))
    content = f"{event_id}.{timestamp}.".encode() + body
    signatures = (f"v1,{b64encode(hmac(key, content, sha256)).decode()}" for key in keys)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }
