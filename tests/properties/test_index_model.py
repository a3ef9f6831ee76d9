"""The ranking index against the obvious computation, under random writes, in every tie policy."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest

from shared.index import (
    Applied,
    Lookup,
    Placed,
    RankingIndex,
    Window,
    held,
    read_applied,
    read_around,
    read_lookup,
    read_window,
)
from shared.messages import Order, Ties
from shared.names import MAX_SCORE
from shared.ranking import Entry, Place, Ranking, Row
from shared.wire import Wire

USERS = 150
SCORES = [*range(8), *range(8), MAX_SCORE, -MAX_SCORE]


class Truth:
    """Entries as they should be, and the standings by brute force."""

    def __init__(self, ranking: Ranking, rng: random.Random) -> None:
        self.ranking = ranking
        self.entries: dict[str, Entry] = {}
        self._rng = rng
        self._version = 0

    def change(self, most: int = 5) -> list[Entry]:
        """Change 1 to `most` users at random; return their new entries."""
        rng, first = self._rng, self.ranking.ties == "first"
        users = rng.sample(range(USERS), rng.randint(1, most))
        changed = []
        for user in users:
            self._version += 1
            hidden = rng.random() < 0.1
            sort_key = None if hidden else self.ranking.sort_key(rng.choice(SCORES))
            changed.append(Entry(f"u{user}", self._version, sort_key, rng.randrange(3) if first else 0))
        self.entries |= {entry.user_id: entry for entry in changed}
        return changed

    def touch_last(self) -> list[Entry]:
        """Give who is last a new version of the entry they have."""
        self._version += 1
        last = self.standings()[-1].user_id
        self.entries[last] = self.entries[last]._replace(version=self._version)
        return [self.entries[last]]

    def standings(self) -> list[Row]:
        """Every visible entry's place, from the definition of the tie policies."""
        visible = sorted(
            (entry.sort_key, entry.tiebreak, user)
            for user, entry in self.entries.items()
            if entry.sort_key is not None
        )
        rows = []
        for position, (key, _, user) in enumerate(visible):
            better = [other for other, _, _ in visible if other < key]
            ties = sum(other == key for other, _, _ in visible)
            rank = {"competition": len(better), "dense": len(set(better)), "first": position}
            place = Place(rank[self.ranking.ties] + 1, ties, self.ranking.score(key), len(better))
            rows.append(Row(user, place))
        return rows

    def places(self) -> dict[str, Place]:
        """The same by user."""
        return {row.user_id: row.place for row in self.standings()}


@pytest.fixture
async def index(redis_url: str) -> AsyncIterator[RankingIndex]:
    wire = Wire(redis_url, timeout=5)
    index = RankingIndex(wire, idle_ms=60_000)
    index.database_identity = "pg:1"
    yield index
    await wire.close()


@pytest.fixture(params=["competition", "dense", "first"])
def ties(request: pytest.FixtureRequest) -> Ties:
    found: Ties = request.param
    return found


@pytest.fixture(params=["desc", "asc"])
def truth(request: pytest.FixtureRequest, ties: Ties, rng: random.Random) -> Truth:
    order: Order = request.param
    return Truth(Ranking(rng.randrange(1, 10**6), 1, 0, ties, order), rng)


async def fill(index: RankingIndex, truth: Truth, rng: random.Random) -> None:
    """Load the index in random chunks while applies change it."""
    status, token = await index.begin(truth.ranking)
    assert status == "mine"
    for _ in range(30):
        chunk = truth.change()
        late = rng.choice(list(truth.entries.values()))._replace(version=0, sort_key=5)
        commands = [index.load(truth.ranking, token, chunk), index.apply(truth.ranking, truth.change())]
        loaded, applied, stale = await index.send([*commands, index.load(truth.ranking, token, [late])])
        assert held(loaded)
        assert held(stale)
        assert applied == [b"loading"]
    assert await index.finish(truth.ranking, token)


async def test_ranks_equal_the_definition(index: RankingIndex, truth: Truth, rng: random.Random) -> None:
    await fill(index, truth, rng)
    for _ in range(100):
        before = truth.places()
        sent = with_stale(truth, truth.change(), rng)
        (reply,) = await index.send([index.apply(truth.ranking, sent)])
        applied = read_applied(truth.ranking, reply)
        after = truth.places()
        assert isinstance(applied, Applied)
        assert applied.stamp.total == len(after)
        assert applied.placed == [placed(before.get(e.user_id), after.get(e.user_id)) for e in sent]
        await compare_reads(index, truth, rng)


def with_stale(truth: Truth, changed: Iterable[Entry], rng: random.Random) -> list[Entry]:
    """Add to a change an entry whose time has passed: it must be refused."""
    users = {entry.user_id for entry in changed}
    old = [entry for user, entry in truth.entries.items() if user not in users]
    stale = [rng.choice(old)._replace(sort_key=3)] if old else []
    return [*changed, *(entry._replace(version=entry.version - 1) for entry in stale)]


def placed(before: Place | None, after: Place | None) -> Placed:
    """Say what an apply should answer of one user."""
    previous = (before.rank, before.score) if before else (None, None)
    if after is None:
        return Placed(previous[0], None, None, None, previous[1])
    return Placed(previous[0], after.rank, after.ties, after.score, previous[1])


async def compare_reads(index: RankingIndex, truth: Truth, rng: random.Random) -> None:
    """Read a page, a neighbourhood and some places at random; each must be as defined."""
    ranking, rows, places = truth.ranking, truth.standings(), truth.places()
    offset, limit, radius = rng.randrange(USERS + 10), rng.randrange(1, 40), rng.randrange(1, 50)
    users = [f"u{rng.randrange(USERS + 20)}" for _ in range(3)]
    replies = await index.send(
        [
            index.page(ranking, offset, limit),
            index.around(ranking, [(user, radius) for user in users]),
            index.lookup(ranking, users),
        ]
    )
    page, around = read_window(ranking, replies[0]), read_around(ranking, replies[1])
    lookup = read_lookup(ranking, replies[2])
    assert isinstance(page, Window)
    assert page.rows == rows[offset : offset + limit]
    at = {row.user_id: i for i, row in enumerate(rows)}
    assert isinstance(around, list)
    assert [window.rows for window in around] == [
        rows[max(0, at[user] - radius) : at[user] + radius + 1] if user in at else [] for user in users
    ]
    assert isinstance(lookup, Lookup)
    assert lookup.places == [places.get(user) for user in users]


async def test_a_held_page_is_current_or_told_not_to_be(
    index: RankingIndex, truth: Truth, rng: random.Random
) -> None:
    await fill(index, truth, rng)
    while len(truth.entries) < USERS:  # more than a page holds
        await index.send([index.apply(truth.ranking, truth.change())])
    held_rows: Sequence[Row] | None = None
    known = ""
    kept = 0
    for turn in range(150):
        changed = truth.touch_last() if turn % 10 == 9 else truth.change(most=1)
        await index.send([index.apply(truth.ranking, changed)])
        (reply,) = await index.send([index.page(truth.ranking, 0, 100, known)])
        page = read_window(truth.ranking, reply)
        assert isinstance(page, Window)
        assert page.stamp.total == len(truth.places())
        if page.rows is None:
            kept += 1
        else:
            held_rows, known = page.rows, f"{page.stamp.token}/{page.stamp.page}"
        assert held_rows == truth.standings()[:100]
    assert kept > 0, "the page was never reused"
