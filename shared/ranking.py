"""What a ranking is: one leaderboard, generation and season; how its places are reckoned. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple
from zlib import crc32

from shared.messages import Operator, Order, Ties
from shared.names import leaderboard_key
from shared.seasons import ENDLESS, Calendar, Season, calendar

KNOWN_SEASONS = 16
"""Seasons of a board whose rankings are kept at hand."""

HOT_PLACES = 100
"""Places kept as a hot page; a change at or above the last of them makes a new page."""


@dataclass(frozen=True)
class Board:
    """A leaderboard's definition as the services use it."""

    leaderboard_id: int
    game_id: int
    leaderboard: str
    generation: int
    title: str | None
    operator: Operator
    order: Order
    ties: Ties
    schedule: str | None
    timezone: str
    modes: frozenset[str] | None
    min_score: int
    max_score: int
    status: str
    index_shards: int = 1
    index_layout: int = 0
    build: Build | None = field(default=None, compare=False)
    """What is on its way to take this definition's place."""

    _rankings: dict[int, Ranking] = field(default_factory=dict, compare=False, repr=False)

    def counts(self, mode: str | None) -> bool:
        """Say whether a session of `mode` counts here."""
        return self.modes is None or mode in self.modes

    def takes(self, score: int) -> bool:
        """Say whether a score is within the bounds."""
        return self.min_score <= score <= self.max_score

    @cached_property
    def generation_key(self) -> tuple[int, int]:
        """Which definition of which leaderboard this is."""
        return self.leaderboard_id, self.generation

    @cached_property
    def calendar(self) -> Calendar | None:
        """When the seasons of a scheduled leaderboard change; None for an endless one."""
        return None if self.schedule is None else calendar(self.schedule, self.timezone)

    def season_at(self, moment: int) -> Season:
        """Return the season a moment (Unix seconds) belongs to."""
        return ENDLESS if self.calendar is None else self.calendar.at(moment)

    def ranking(self, season: int) -> Ranking:
        """Return the ranking of one season (its start in Unix seconds; 0: the endless one)."""
        known = self._rankings.get(season)
        if known is None:
            known = self.ranking_of(self.generation, season)
            if len(self._rankings) < KNOWN_SEASONS:
                self._rankings[season] = known
        return known

    def ranking_of(self, generation: int, season: int) -> Ranking:
        """Return the ranking of a season as an older generation had it."""
        return Ranking(
            self.leaderboard_id,
            generation,
            season,
            self.ties,
            self.order,
            shards=self.index_shards,
            layout=self.index_layout,
        )


class Build(NamedTuple):
    """A definition on its way: a generation that is being folded from the history, or that cannot be."""

    board: Board
    users_done: int
    users_total: int | None
    failure_code: str | None
    failure: str | None

    @property
    def progress(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.users_total is None:
            return 0.0
        return round(min(1.0, self.users_done / self.users_total), 4) if self.users_total else 1.0


@dataclass(frozen=True)
class Ranking:
    """One season's order of one leaderboard: the unit of the ranking index.

    Its index may be cut into shards, which lie on different nodes of a cluster. Each of these `parts`
    is a ranking of its own to the index, of those users whose ids hash to it. What no shard holds by
    itself (ranks, pages) is put together in `shared.sharding`.
    """

    leaderboard_id: int
    generation: int
    season: int
    ties: Ties
    order: Order
    sealed: bool = field(default=False, compare=False)
    """Its standings are final: they are read from Postgres, and there is no index of them."""
    shards: int = 1
    shard: int = -1
    """Which of the shards this is; -1: the whole ranking."""
    layout: int = 0
    """How often the number of shards was changed: what was copied before is not found any more."""

    def __hash__(self) -> int:
        # Rankings are looked up several times a request: the hash is reckoned once.
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.leaderboard_id, self.generation, self.season, self.shard))

    @cached_property
    def name(self) -> str:
        """What it is called wherever it is remembered; a shard's tells how many there are."""
        whole = f"lb:{leaderboard_key(self.leaderboard_id, self.generation, self.season)}"
        return whole if self.shard < 0 else f"{whole}:{self.shard}/{self.shards}"

    @cached_property
    def parts(self) -> tuple[Ranking, ...]:
        """What the index keeps: the ranking itself, or its shards."""
        if self.shards == 1:
            return (self,)
        return tuple(replace(self, shard=shard) for shard in range(self.shards))

    @cached_property
    def whole(self) -> Ranking:
        """The ranking this is a shard of, or itself."""
        return self if self.shard < 0 else replace(self, shard=-1)

    def part_of(self, user_id: str) -> Ranking:
        """Return the part that holds a user: by the CRC-32 of the id."""
        return self if self.shards == 1 else self.parts[crc32(user_id.encode()) % self.shards]

    def split(self, user_ids: Iterable[str]) -> dict[Ranking, list[str]]:
        """Return users by the part that holds them."""
        found: dict[Ranking, list[str]] = {}
        for user_id in user_ids:
            found.setdefault(self.part_of(user_id), []).append(user_id)
        return found

    @cached_property
    def generation_key(self) -> tuple[int, int]:
        """Its leaderboard and generation."""
        return self.leaderboard_id, self.generation

    @cached_property
    def keys(self) -> tuple[str, str, str, str]:
        """The Redis keys: state, ranking, versions, distinct; one hash tag, so one cluster node."""
        assert self.shards == 1 or self.shard >= 0, "only the parts of a ranking have keys"
        tag = f"{{{self.name}~{self.layout}}}" if self.layout else f"{{{self.name}}}"
        return (f"{tag}:s", f"{tag}:z", f"{tag}:v", f"{tag}:d")

    def sort_key(self, score: int) -> int:
        """Return the key in which smaller is better."""
        return -score if self.order == "desc" else score

    def score(self, sort_key: int) -> int:
        """Return the score of a sort key (the mapping is its own inverse)."""
        return -sort_key if self.order == "desc" else sort_key


class Entry(NamedTuple):
    """One row of `entries` as the index needs it; `sort_key` is None for a hidden or deleted one."""

    user_id: str
    version: int
    sort_key: int | None
    tiebreak: int


class Place(NamedTuple):
    """Where a user stands.

    `rank` 1 is best; `ties` players are on that score, oneself included; `better` players have a
    strictly better score, whatever the tie policy.
    """

    rank: int
    ties: int
    score: int
    better: int


class Row(NamedTuple):
    """One line of a page."""

    user_id: str
    place: Place


Figures = tuple[int, bytes, int, int, int]
"""A line of a page: rank, user id, score, ties and who has a better score, as in `Place`."""


def reckon(
    ties: Ties,
    start: int,
    better: int,
    rank: int,
    size: int,
    last_size: int,
    scores: Sequence[int],
    users: Sequence[bytes],
) -> list[Figures]:
    """Reckon the places of consecutive rows from what is known of the first and the last.

    Args:
        ties: the tie policy.
        start: rows ahead of the first one.
        better: how many have a better score than the first row.
        rank: the rank of the first row.
        size: how many share the first row's score, in the whole ranking.
        last_size: how many share the last row's score, in the whole ranking.
        scores: the rows' scores, best first, at least one. Only the first and last groups of equal
            scores can reach beyond the rows; every group between them is whole, so it is counted here.
        users: the rows' users.
    """
    group, last = scores[0], scores[-1]
    result: list[Figures] = []
    for place, (score, user_id) in enumerate(zip(scores, users, strict=True), start):
        if score != group:
            group, better = score, place
            size = last_size if score == last else scores.count(score)
            rank = rank + 1 if ties == "dense" else place + 1
        result.append((place + 1 if ties == "first" else rank, user_id, score, size, better))
    return result


def places(
    ties: Ties,
    start: int,
    better: int,
    first_rank: int,
    first_ties: int,
    last_ties: int,
    scores: Sequence[int],
) -> list[Place]:
    """Reckon the places of consecutive rows, of which there may be none; see `reckon`."""
    users = [b""] * len(scores)
    found = reckon(ties, start, better, first_rank, first_ties, last_ties, scores, users) if scores else []
    return [Place(rank, size, score, ahead) for rank, _, score, size, ahead in found]
