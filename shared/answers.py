"""The answers of the HTTP API as types: what the services encode and what the description shows.

Those of the hottest reads are put together from templates (`rank_service/envelopes.py`); their types
here are what they look like, and what the tests hold them to.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.heartbeat import Beat
from shared.messages import Envelope, GameOut, LeaderboardOut, ProfileOut, ResultOut, SeasonOut, Source

Announced = Literal["waiting", "delivered", "given_up", "outdated"]
Metadata = Annotated[Raw, Meta(extra_json_schema={"type": "object"})] | None
Cursor = Annotated[str, Meta(description="for the next page; null: there is none")] | None


class LeaderboardDetails(LeaderboardOut, frozen=True, kw_only=True):
    """A leaderboard's definition, its current season and how many are ranked there.

    `total` is null while the leaderboard is being built.
    """

    season: SeasonOut
    total: int | None


class PreviewEntry(Struct, frozen=True):
    """One line of a preview."""

    rank: int
    user_id: str
    score: int
    ties: int
    display_name: str | None = None


class PreviewSide(Struct, frozen=True):
    """A leaderboard before or after a change: how many are ranked, and the first 20."""

    total: int
    entries: list[PreviewEntry]


class Move(Struct, frozen=True, rename={"origin": "from", "target": "to"}):
    """Whose rank would change, and how."""

    user_id: str
    origin: int
    target: int
    display_name: str | None = None


class Preview(Struct, frozen=True):
    """What a definition would do to the current season; `changed` counts those who come and go too."""

    leaderboard: str
    season: str
    before: PreviewSide
    after: PreviewSide
    changed: int
    largest_rise: Move | None
    largest_fall: Move | None


class LeaderboardList(Struct, frozen=True):
    """The leaderboards of a game."""

    leaderboards: list[LeaderboardDetails]


class PreviousDigest(Struct, frozen=True):
    """Standings that were sealed before."""

    digest: str
    total: int
    sealed_at: datetime


class SeasonDetails(SeasonOut, frozen=True):
    """A season in the list of seasons; `digest` is that of its sealed standings."""

    total: int
    digest: str | None
    previous_digests: list[PreviousDigest] | UnsetType = UNSET
    """Those of standings sealed before a session in them was made void."""


class UserEntry(Struct, frozen=True):
    """A user's place in one leaderboard."""

    leaderboard: str
    season: str
    rank: int
    score: int
    ties: int
    total: int


class UserDetails(ProfileOut, frozen=True):
    """A user's profile and places."""

    entries: list[UserEntry]


class UserList(Struct, frozen=True):
    """Users found."""

    users: list[ProfileOut]


class PlayedSession(Struct, frozen=True):
    """One session a user took part in."""

    session_id: UUID
    mode: str | None
    played_at: datetime
    score: int
    metadata: Metadata
    voided: bool


class PlayedSessions(Struct, frozen=True):
    """A page of a user's history, newest first."""

    sessions: list[PlayedSession]
    next_cursor: Cursor


class RecordedResult(Struct, frozen=True):
    """A player's result as it was recorded."""

    user_id: str
    score: int
    metadata: Metadata


class RecordedSession(Struct, frozen=True):
    """A session as it was recorded."""

    session_id: UUID
    mode: str | None
    played_at: datetime
    recorded_at: datetime
    voided_at: datetime | None
    results: list[RecordedResult]


class FoundSession(Struct, frozen=True):
    """A recorded session, without its results."""

    session_id: UUID
    mode: str | None
    played_at: datetime
    recorded_at: datetime
    voided_at: datetime | None
    void_reason: str | None


class FoundSessions(Struct, frozen=True):
    """A page of sessions, newest first."""

    sessions: list[FoundSession]
    next_cursor: Cursor


class HeldEntry(Struct, frozen=True):
    """A user's score on one leaderboard in one season."""

    leaderboard: str
    season: str
    score: int


class HeldResult(Struct, frozen=True):
    """One of a user's results."""

    session_id: UUID
    played_at: datetime
    score: int
    metadata: Metadata


class AuditLine(Struct, frozen=True):
    """What was done by hand, when, by which key."""

    at: datetime
    key_id: str
    action: str
    reason: str | None


class AuditedAct(Struct, frozen=True):
    """What was done by hand in a game, to whom or what, by which key."""

    at: datetime
    key_id: str
    action: str
    subject: str
    reason: str | None


class AuditPage(Struct, frozen=True):
    """A page of the audit, newest first."""

    audit: list[AuditedAct]
    next_cursor: Cursor


class UserExport(Struct, frozen=True):
    """All that is held about one user; results by pages, newest first."""

    user_id: str
    display_name: str | None
    country: str | None
    avatar_url: str | None
    banned_at: datetime | None
    ban_reason: str | None
    created_at: datetime
    entries: list[HeldEntry]
    audit: list[AuditLine]
    results: list[HeldResult]
    next_cursor: Cursor


class BanOut(Struct, frozen=True):
    """Whether a user is banned, since when and why."""

    user_id: str
    banned_at: datetime | None
    reason: str | None


class StoreStatus(Struct, frozen=True):
    """Whether a store answers, and in how many milliseconds."""

    ok: bool
    milliseconds: float | None = None


class OutboxStatus(Struct, frozen=True):
    """Batches committed and not yet applied, and the age of the oldest in seconds."""

    batches: int
    age_seconds: float


class Status(Struct, frozen=True):
    """The state of the whole as of one moment; `services` are those heard of in the last 10 seconds."""

    as_of: datetime
    postgres: StoreStatus
    redis: StoreStatus
    outbox: OutboxStatus | None
    services: list[Beat]


class Announcement(Struct, frozen=True):
    """How an announcement stands."""

    id: str
    season: str
    digest: str
    status: Announced
    attempts: int
    created_at: datetime
    next_at: datetime | None
    ended_at: datetime | None
    error: str | None


class WebhookOut(Struct, frozen=True):
    """A leaderboard's webhook, and the newest of its announcements, newest first."""

    webhook: str | None
    announcements: list[Announcement]


class GameList(Struct, frozen=True):
    """A page of games, in the order of their ids."""

    games: list[GameOut]
    next_cursor: Cursor


class BatchOutcome(Struct, frozen=True):
    """What became of one session of a batch: as if it had been posted alone, with its status."""

    status: int
    session_id: UUID | UnsetType = UNSET
    played_at: datetime | UnsetType = UNSET
    results: list[ResultOut] | UnsetType = UNSET
    voided: bool | UnsetType = UNSET
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET


class BatchOut(Struct, frozen=True):
    """What became of the sessions of a batch, in order."""

    sessions: list[BatchOutcome]


class Lookup(Envelope, frozen=True, kw_only=True):
    """The entries of chosen users, best first, and who of them has none."""

    missing: list[str]


class ScoreRank(Envelope, frozen=True, kw_only=True):
    """The rank a score would have, and how many are on it."""

    score: int
    rank: int
    ties: int


class Range(Struct, frozen=True, rename={"lowest": "from", "highest": "to"}):
    """A range of scores, both ends in it, and how many players are there."""

    lowest: int
    highest: int
    count: int


class Distribution(Envelope, frozen=True, kw_only=True):
    """A histogram of scores."""

    buckets: list[Range]


class SeasonList(Struct, frozen=True):
    """A page of a leaderboard's seasons, newest first."""

    leaderboard: str
    season: SeasonOut
    total: int
    source: Source
    as_of: datetime
    seasons: list[SeasonDetails]
    next_cursor: Cursor
