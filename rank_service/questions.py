"""What is asked of a ranking, and the shape of each answer; the index and Postgres know the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shared import index
from shared.index import Bucket, Stamp
from shared.profiles import Kept
from shared.ranking import Place, Ranking, Row


class Places(NamedTuple):
    """Where are these users? None of them: how many entries are there?"""

    ranking: Ranking
    game_id: int
    user_ids: tuple[str, ...]


class Page(NamedTuple):
    """Who is from this offset on?"""

    ranking: Ranking
    game_id: int
    offset: int
    limit: int


class Around(NamedTuple):
    """Who is around this user?"""

    ranking: Ranking
    game_id: int
    user_id: str
    radius: int


class WhatIf(NamedTuple):
    """What rank would this score have?"""

    ranking: Ranking
    game_id: int
    score: int


class Spread(NamedTuple):
    """How are the scores distributed over this many ranges?"""

    ranking: Ranking
    game_id: int
    buckets: int


class Stood(NamedTuple):
    """The answer to `Places`, in the order of the users; `profiles` as far as Redis had them."""

    total: int
    as_of: bytes
    places: Sequence[Place | None]
    profiles: Kept


class Seen(NamedTuple):
    """The answer to `Page` and `Around`; `profile_version` is from before any profile is read."""

    stamp: Stamp
    as_of: bytes
    rows: Sequence[Row]
    profile_version: bytes | None


class Supposed(NamedTuple):
    """The answer to `WhatIf`: the rank, and how many are on that score now."""

    total: int
    as_of: bytes
    rank: int
    ties: int


class Counted(NamedTuple):
    """The answer to `Spread`: ranges from the lowest score to the highest."""

    total: int
    as_of: bytes
    buckets: Sequence[Bucket]


class Tally(NamedTuple):
    """Asked of a shard: how many are better than, and on, these sort keys of users it does not hold?"""

    ranking: Ranking
    game_id: int
    sort_keys: tuple[int, ...]


class Near(NamedTuple):
    """Asked of a shard: who is around the place that a user it does not hold would have?"""

    ranking: Ranking
    game_id: int
    sort_key: int
    user_id: str
    radius: int


class Names(NamedTuple):
    """Asks for profiles, once it is known whose."""

    game_id: int
    user_ids: tuple[str, ...]


Question = Places | Page | Around | WhatIf | Spread
Answer = Stood | Seen | Supposed | Counted
Asked = Question | Tally | Near | Names
"""Whatever can be asked of Redis in one round trip to one node."""

Found = Answer | index.Tally | Kept
