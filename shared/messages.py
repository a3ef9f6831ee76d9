"""The bodies of the HTTP API as types: what is decoded, what is encoded, what OpenAPI shows."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from shared.names import MAX_RESULTS, MAX_SCORE, Score, Slug, UserId

Operator = Literal["sum", "best", "latest", "count"]
Order = Literal["desc", "asc"]
Ties = Literal["competition", "dense", "first"]
Source = Literal["index", "database", "sealed"]
Mode = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z", description="a kind of match")]
# Names are shown to people: no control characters (which would also hide NUL, which Postgres cannot keep).
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]
Title = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00]*\Z")]


Webhook = Annotated[str, Meta(max_length=2048, pattern=r"\Ahttps?://[!-~]+\Z", description="an https URL")]


class Request(Struct, forbid_unknown_fields=True, frozen=True):
    """A body that came from outside: unknown fields are an error."""


class ResultIn(Request, frozen=True):
    """One player's score in a session being posted."""

    user_id: UserId
    score: Score
    metadata: dict[str, Any] | None = None


class SessionIn(Request, frozen=True):
    """A session being posted."""

    results: Annotated[tuple[ResultIn, ...], Meta(min_length=1, max_length=MAX_RESULTS)]
    session_id: UUID | None = None
    mode: Mode | None = None
    played_at: Annotated[datetime, Meta(tz=True)] | None = None


class GameIn(Request, frozen=True):
    """A game being created or renamed."""

    title: Title | None = None


class LeaderboardIn(Request, frozen=True):
    """A leaderboard's definition; what is absent takes its default."""

    title: Title | None = None
    operator: Operator = "sum"
    order: Order = "desc"
    ties: Ties = "competition"
    schedule: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    modes: Annotated[tuple[Mode, ...], Meta(min_length=1, max_length=32)] | None = None
    min_score: Score = 0
    max_score: Score = MAX_SCORE
    index_shards: Annotated[
        int, Meta(ge=1, le=64, description="parts of the ranking index; more than 1 only with `competition`")
    ] = 1
    webhook: Webhook | UnsetType | None = UNSET
    """Where sealed seasons are announced; absent: as before, since readers of definitions do not see it."""


class ProfileIn(Request, frozen=True):
    """A user's profile; what is absent is cleared."""

    display_name: Name | None = None
    country: Annotated[str, Meta(pattern=r"\A[A-Z]{2}\Z", description="ISO 3166-1 alpha-2")] | None = None
    avatar_url: Annotated[str, Meta(max_length=2048, pattern=r"\Ahttps://[!-~]+\Z")] | None = None


Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00]*\Z")]


class VoidIn(Request, frozen=True):
    """Why a session is made void."""

    reason: Reason


class BanIn(Request, frozen=True):
    """Why a user is banned."""

    reason: Reason | None = None


class BatchIn(Request, frozen=True):
    """Many sessions in one call; each is atomic by itself."""

    sessions: Annotated[tuple[Raw, ...], Meta(min_length=1, max_length=MAX_RESULTS)]


class ProfileOut(Struct, frozen=True):
    """A user's profile."""

    user_id: str
    display_name: str | None
    country: str | None
    avatar_url: str | None


class GameOut(Struct, frozen=True):
    """A game."""

    game: Slug
    title: str | None
    created_at: datetime
    archived_at: datetime | None = None


class LeaderboardOut(Struct, frozen=True):
    """A leaderboard's definition in force.

    While another one is folded from the history, the status is `building`, `progress` says how far that is
    (0 to 1), and `next` what will be in force then. `failure` says why the last one could not be built.
    """

    leaderboard: Slug
    title: str | None
    operator: Operator
    order: Order
    ties: Ties
    schedule: str | None
    timezone: str
    modes: tuple[str, ...] | None
    min_score: int
    max_score: int
    index_shards: int
    status: Literal["building", "ready", "failed"]
    progress: float | UnsetType = UNSET
    next: LeaderboardIn | UnsetType = UNSET
    failure: str | UnsetType = UNSET


class LeaderboardDefined(LeaderboardOut, frozen=True, kw_only=True):
    """The same, answered to whoever may define it."""

    webhook: str | None


class EntryChange(Struct, frozen=True):
    """What a recorded result did to one leaderboard; ranks are null when the index was not in time."""

    leaderboard: str
    season: str | None
    score: int | UnsetType = UNSET
    rank: int | UnsetType | None = UNSET
    previous_rank: int | UnsetType | None = UNSET
    ties: int | UnsetType | None = UNSET
    reason: str | UnsetType = UNSET


class ResultOut(Struct, frozen=True):
    """One player's result and the entries it changed."""

    user_id: str
    score: int
    entries: list[EntryChange]


class SessionOut(Struct, frozen=True):
    """The answer to a session posted."""

    session_id: UUID
    played_at: datetime
    results: list[ResultOut]
    voided: bool | UnsetType = UNSET


class SeasonOut(Struct, frozen=True):
    """One season of a leaderboard."""

    id: str
    starts_at: datetime | None
    ends_at: datetime | None
    status: Literal["open", "closing", "sealed"]


class EntryOut(Struct, frozen=True):
    """One user's place."""

    rank: int
    user_id: str
    display_name: str | None
    country: str | None
    score: int
    ties: int
    percentile: float | UnsetType = UNSET
    rank_change: int | UnsetType | None = UNSET
    """In a single entry: places risen since the end of yesterday (UTC); null when that is not known."""


class Envelope(Struct, frozen=True):
    """Every answer about a ranking: where it came from, as of when, and the entries asked for."""

    leaderboard: str
    season: SeasonOut
    total: int
    source: Source
    as_of: datetime
    entry: EntryOut | UnsetType = UNSET
    entries: list[EntryOut] | UnsetType = UNSET


class RankOnDay(Struct, frozen=True):
    """Where a user stood at the end of a day (UTC)."""

    date: date
    rank: int
    score: int
    total: int


class RankHistory(Struct, frozen=True):
    """A user's daily ranks, oldest first; days on which the entry did not change are left out."""

    leaderboard: str
    season: SeasonOut
    user_id: str
    days: list[RankOnDay]
