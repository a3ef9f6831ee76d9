"""Events between the services: what changed, published over Redis, never needed for correctness.

An event is a hint to look; whoever misses one finds out from versions and ages anyway.
"""

from __future__ import annotations

import msgspec

from shared.ranking import Ranking
from shared.wire import Command

CHANNEL = "leaderboard:events"


class EntriesChanged(msgspec.Struct, frozen=True, tag="entries"):
    """Entries of one ranking changed."""

    leaderboard_id: int
    generation: int
    season: int
    users: list[str]


class RulesChanged(msgspec.Struct, frozen=True, tag="rules"):
    """A game, or something defined in it, changed."""

    game: str


class ProfileChanged(msgspec.Struct, frozen=True, tag="profile"):
    """A user's profile changed."""

    game_id: int
    user_id: str


Event = EntriesChanged | RulesChanged | ProfileChanged

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode


def publish(event: Event) -> Command:
    """Build the command that publishes an event."""
    return ("PUBLISH", CHANNEL, encode(event))


def publish_entries(ranking: Ranking, user_ids: list[str]) -> Command:
    """Build the command that says whose entries of a ranking changed."""
    return publish(EntriesChanged(ranking.leaderboard_id, ranking.generation, ranking.season, user_ids))
