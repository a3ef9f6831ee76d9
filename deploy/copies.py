"""Do the ranking indexes hold what Postgres says: members, versions, counts, distinct scores, ranks?

Sessions come in meanwhile, so what differs is only suspect: it is read again when whatever was committed a
second ago must have been applied. Ranks are moved by others all the time; one is wrong when it differs by
more than the number of entries that have changed in between, each of which moves it by one at the most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deploy.ledger import SQL
from rank_service.audit import agree
from rank_service.store import SQL as READS
from shared.errors import StoreUnavailable
from shared.index import PREFIX_WIDTH, Lookup, RankingIndex, Window, read_window
from shared.postgres import Connection, Pool, translated
from shared.ranking import Entry, Place, Ranking
from shared.sharding import look_up
from shared.wire import Command, Line

if TYPE_CHECKING:
    from deploy.verify import Findings

CHUNK = 1_000
"""Entries, members or ranks compared at once."""

SETTLE = 1.0
"""Seconds a difference must last."""

SUSPECTS = 20_000
"""Suspects kept; when there are as many, they are looked at again before going on."""

PATIENCE = 500
"""Looks, a hundredth of a second apart, for the end of transactions that were running."""

RECHECKED = 1_000
"""Ranks that changes may explain which are looked at again."""


class State(NamedTuple):
    """What a copy says of itself, and what it holds."""

    token: str
    claimed: int
    known: int
    members: int
    versions: int


class Apart(NamedTuple):
    """A user whose rank or ties, in the index and in Postgres, are apart by so much."""

    user_id: str
    stored: str
    should: str
    by: int


class Gone(Exception):
    """The copy was given up while it was compared: sealed, expired, loaded anew."""


class Copies:
    """Compares indexes with Postgres.

    Args:
        line: the way that `index` goes.
        pool: the primary.
    """

    def __init__(self, index: RankingIndex, line: Line, pool: Pool, findings: Findings) -> None:
        self._index = index
        self._line = line
        self._pool = pool
        self._findings = findings

    async def compare(self, ranking: Ranking) -> None:
        """Compare one season's index, if there is one."""
        states = [state for part in ranking.parts if (state := await self._state(part)) is not None]
        if len(states) < ranking.shards:
            self._findings.compared["seasons without an index"] += 1
            return
        before = self._findings.total
        checks = [_Check(self, part, s.token) for part, s in zip(ranking.parts, states, strict=True)]
        try:
            for state, check in zip(states, checks, strict=True):
                if (state.claimed, state.known) != (state.members, state.versions):
                    stored = f"counts of {state.claimed} and {state.known}"
                    held = f"{state.members} members and {state.versions} versions"
                    self._findings.add("index count", ranking.season, None, stored, held)
                await check.entries()
            if self._findings.total == before:
                await Ranks(self, ranking).compare()
            else:
                self._findings.notes.append("ranks were not compared: the index holds something else")
            for check in checks:
                await check.still()
        except Gone:
            self._findings.notes.append("an index was given up or replaced meanwhile: run it again")
        else:
            self._findings.compared["indexes"] += 1

    @property
    def findings(self) -> Findings:
        """Where differences go."""
        return self._findings

    @property
    def pool(self) -> Pool:
        """The primary."""
        return self._pool

    async def send(self, commands: Sequence[Command], plain: Sequence[Command] = ()) -> list[Any]:
        """Run commands in one round trip.

        Raises:
            StoreUnavailable: Redis refused one.
        """
        return _granted(await self._index.send(commands, plain))

    async def atomically(self, plain: Sequence[Command]) -> list[Any]:
        """Run commands about the keys of one copy with nothing in between."""
        wire = await self._line.at(plain[0][1])
        *_, replies = _granted(await wire.send([("MULTI",), *plain, ("EXEC",)]))
        return list(replies)

    async def present(self, ranking: Ranking) -> bool:
        """Say whether the board is still the one whose copies are compared."""
        with translated():
            row = await self._pool.fetchrow(SQL["present_generation"], ranking.leaderboard_id)
        return row is not None and tuple(row) == (ranking.generation, ranking.layout)

    async def page(self, ranking: Ranking, offset: int, limit: int) -> dict[str, Place]:
        """Return the places from `offset` on, by user.

        Raises:
            Gone: the copy does not answer.
        """
        if ranking.shards > 1:
            return {}  # a page of the whole is merged from pages as deep: its users are looked up instead
        (reply,) = await self.send([self._index.page(ranking, offset, limit)])
        answer = read_window(ranking, reply)
        if not isinstance(answer, Window):
            raise Gone
        return {row.user_id: row.place for row in answer.rows or ()}

    async def lookup(self, ranking: Ranking, users: Sequence[str]) -> dict[str, Place]:
        """Return where users stand.

        Raises:
            Gone: the copy does not answer.
        """
        if not users:
            return {}
        answer = (await look_up(self._index, {ranking: users}))[ranking]
        if not isinstance(answer, Lookup):
            raise Gone
        return {user: place for user, place in zip(users, answer.places, strict=True) if place is not None}

    async def versions(self, ranking: Ranking, users: Sequence[str]) -> list[int | None]:
        """Return the versions that are held of users."""
        parts = ranking.split(users)
        replies = await self.send([], [("HMGET", part.keys[2], *mine) for part, mine in parts.items()])
        held = {
            user: version
            for mine, versions in zip(parts.values(), replies, strict=True)
            for user, version in zip(mine, versions, strict=True)
        }
        found = (held[user] for user in users)
        return [None if stored is None else int(stored.partition(b":")[0]) for stored in found]

    async def _state(self, ranking: Ranking) -> State | None:
        """Return the state of a copy that readers would use."""
        state, members, versions, _ = ranking.keys
        fields, *sizes = await self.atomically(
            [
                ("HMGET", state, "status", "origin", "token", "count", "known"),
                ("ZCARD", members),
                ("HLEN", versions),
            ]
        )
        status, origin, token, count, known = fields
        expected = f"{await (await self._line.at(state)).connect()}|{self._index.database_identity}"
        if status != b"ready" or origin != expected.encode():
            return None
        return State(token.decode(), int(count), int(known), *sizes)

    async def token(self, ranking: Ranking) -> str | None:
        """Return the token of the copy there is now."""
        state = await self._state(ranking)
        return None if state is None else state.token


class _Check:
    """Compares members, versions and distinct scores of one copy."""

    def __init__(self, copies: Copies, ranking: Ranking, token: str) -> None:
        self._copies = copies
        self._ranking = ranking
        self._token = token
        self._prefix = PREFIX_WIDTH if ranking.ties == "first" else 0
        self._users: set[str] = set()
        self._members: set[str] = set()
        self._distinct: set[int] = set()

    async def entries(self) -> None:
        """Go through Postgres and through the copy; look again at what differs."""
        await self._walk_postgres()
        await self._walk_versions()
        await self._walk_members()
        if self._ranking.ties == "dense":
            await self._walk_distinct()
        await self._settle()

    async def still(self) -> None:
        """Make sure that the copy is the one that was begun with.

        Raises:
            Gone: it is not.
        """
        if not await self._copies.present(self._ranking):
            raise Gone
        if await self._copies.token(self._ranking) != self._token:
            raise Gone

    async def _walk_postgres(self) -> None:
        after, done = "", 0
        while found := await self._rows("entries_from", after, CHUNK):
            rows = self._mine(found)
            held = await self._held([row.user_id for row in rows])
            self._users |= {
                row.user_id
                for row, each in zip(rows, held, strict=True)
                if each is None or each.version != row.version or not agree(self._ranking, row, each)
            }
            if self._ranking.ties == "dense":
                await self._look_for_distinct(rows)
            after, done = found[-1].user_id, done + len(rows)
            self._copies.findings.step("entries and the index", done, 0)
            await self._settle_if_many()

    async def _look_for_distinct(self, rows: Iterable[Entry]) -> None:
        keys = list({row.sort_key for row in rows if row.sort_key is not None})
        if keys:
            (found,) = await self._copies.send([], [("ZMSCORE", self._ranking.keys[3], *keys)])
            self._distinct |= {key for key, score in zip(keys, found, strict=True) if score is None}

    async def _walk_versions(self) -> None:
        async for fields in self._scan("HSCAN", self._ranking.keys[2]):
            users = [field.decode() for field in fields[::2]]
            known = {entry.user_id for entry in await self._truth("entries_named", users)}
            self._users |= set(users) - known
            await self._settle_if_many()

    async def _walk_members(self) -> None:
        async for fields in self._scan("ZSCAN", self._ranking.keys[1]):
            members = [field.decode() for field in fields[::2]]
            held = await self._held([member[self._prefix :] for member in members])
            self._members |= {
                member for member, entry in zip(members, held, strict=True) if self._member(entry) != member
            }
            await self._settle_if_many()

    async def _walk_distinct(self) -> None:
        _, members, _, distinct = self._ranking.keys
        async for fields in self._scan("ZSCAN", distinct):
            keys, scores = fields[::2], fields[1::2]
            counts = await self._copies.send([], [("ZCOUNT", members, key, key) for key in keys])
            self._distinct |= {
                int(key)
                for key, score, count in zip(keys, scores, counts, strict=True)
                if key != score or not count
            }

    async def _settle_if_many(self) -> None:
        if len(self._users) + len(self._members) >= SUSPECTS:
            await self._settle()

    async def _settle(self) -> None:
        """Look again, after a moment, at what differed."""
        users, members, distinct = list(self._users), list(self._members), list(self._distinct)
        if not (users or members or distinct):
            return
        due = {entry.user_id: entry.version for entry in await self._truth("entries_named", users)}
        await asyncio.sleep(SETTLE)
        for at in range(0, len(users), CHUNK):
            await self._look_again(users[at : at + CHUNK], due)
        for member in members:
            await self._look_again_at_member(member)
        for key in distinct:
            await self._look_again_at_distinct(key)
        for suspects in (self._users, self._members, self._distinct):
            suspects.clear()

    async def _look_again(self, users: list[str], due: dict[str, int]) -> None:
        held = await self._held(users)  # first: what the copy holds must be in Postgres by then
        truth = {entry.user_id: entry for entry in await self._truth("entries_named", users)}
        await self.still()
        for user, found in zip(users, held, strict=True):
            entry = truth.get(user)
            if agree(self._ranking, entry, found, due.get(user)):
                continue
            self._copies.findings.add("index", self._ranking.season, user, _told(found), _told(entry))

    async def _look_again_at_member(self, member: str) -> None:
        _, members, versions, _ = self._ranking.keys
        user = member[self._prefix :]
        score, stored = await self._copies.atomically([("ZSCORE", members, member), ("HGET", versions, user)])
        held = self._entry(user, stored, score)
        if score is not None and self._member(held) != member:
            stored = f"member {member!r} on {int(score)}"
            should = "no such member" if held is None else f"member {self._member(held)!r}"
            self._copies.findings.add("index member", self._ranking.season, user, stored, should)

    async def _look_again_at_distinct(self, key: int) -> None:
        _, members, _, distinct = self._ranking.keys
        score, count = await self._copies.atomically(
            [("ZSCORE", distinct, key), ("ZCOUNT", members, key, key)]
        )
        should = key if count else None
        if (held := None if score is None else int(score)) != should:
            self._copies.findings.add("index distinct score", self._ranking.season, None, held, should)

    async def _held(self, users: Sequence[str]) -> list[Entry | None]:
        """Return what the copy holds of users."""
        if not users:
            return []
        _, members, versions, _ = self._ranking.keys
        (stored,) = await self._copies.send([], [("HMGET", versions, *users)])
        named = [_prefix(value) + user for user, value in zip(users, stored, strict=True)]
        (scores,) = await self._copies.send([], [("ZMSCORE", members, *named)])
        return [self._entry(*each) for each in zip(users, stored, scores, strict=True)]

    def _entry(self, user: str, stored: bytes | None, score: float | None) -> Entry | None:
        if stored is None:
            return None
        prefix = _prefix(stored)
        version = int(stored.partition(b":")[0])
        return Entry(user, version, None if score is None else int(score), int(prefix or 0))

    def _member(self, entry: Entry | None) -> str | None:
        """Return the member of a user whom the copy knows."""
        if entry is None:
            return None
        return f"{entry.tiebreak:0{self._prefix}}{entry.user_id}" if self._prefix else entry.user_id

    async def _truth(self, query: str, *args: Any) -> list[Entry]:
        return self._mine(await self._rows(query, *args))

    def _mine(self, rows: list[Entry]) -> list[Entry]:
        """Return the rows that this copy should hold: all, or those of its shard."""
        whole = self._ranking.whole
        return [row for row in rows if whole.part_of(row.user_id) == self._ranking]

    async def _rows(self, query: str, *args: Any) -> list[Entry]:
        with translated():
            rows = await self._copies.pool.fetch(READS[query], *_key(self._ranking), *args)
        return [Entry(*row) for row in rows]

    async def _scan(self, command: str, key: str) -> AsyncIterator[list[bytes]]:
        cursor = b"0"
        while True:
            ((cursor, fields),) = await self._copies.send([], [(command, key, cursor, "COUNT", CHUNK)])
            if fields:
                yield fields
            if cursor == b"0":
                return


class Ranks:
    """Compares ranks: those Postgres reckons in one snapshot with those the index answers."""

    def __init__(self, copies: Copies, ranking: Ranking) -> None:
        self._copies = copies
        self._ranking = ranking

    async def compare(self) -> None:
        """Compare everyone's rank; look again at those that changes in between may explain.

        Raises:
            Gone: the copy does not answer any more.
        """
        wrong = await self._differing(None)
        if wrong:
            for user, stored, should, _ in await self._differing([each.user_id for each in wrong]):
                self._copies.findings.add("rank", self._ranking.season, user, stored, should)

    async def _differing(self, users: list[str] | None) -> list[Apart]:
        """Return who stands elsewhere in the index: of all, those to look at again; of `users`, those where
        no change explains it.
        """
        with translated():
            async with self._copies.pool.acquire() as connection:
                mark = await _settled(connection)
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(SQL["take_long"])
                    moving = await connection.fetchval(SQL["unapplied_entries"], *_key(self._ranking))
                    found: list[Apart] = []
                    async for at, chunk in self._chunks(connection, users):
                        found += await self._beside(at, chunk, mark)
                        if len(found) > 2 * SUSPECTS:
                            found = _farthest(found)
                if not found:
                    return []
                moving += await connection.fetchval(SQL["changed_entries"], *_key(self._ranking), mark)
        far = [each for each in _farthest(found) if each.by > moving]
        near = [] if users is not None else [each for each in found if each.by <= moving]
        return far + near[:RECHECKED]

    async def _chunks(
        self, connection: Connection, users: list[str] | None
    ) -> AsyncIterator[tuple[int | None, list[Any]]]:
        """Yield rows by rank with the place of the first one, or those of some users."""
        key = (*_key(self._ranking), self._ranking.ties)
        if users is not None:
            rows = await connection.fetch(SQL["ranks"], *key, users)
            for at in range(0, len(rows), CHUNK):
                yield None, rows[at : at + CHUNK]
            return
        done = 0
        cursor: Any = await connection.cursor(SQL["ranks"], *key, None)
        while rows := await cursor.fetch(CHUNK):
            yield done, rows
            done += len(rows)
            self._copies.findings.compared["ranks"] += len(rows)
            self._copies.findings.step("ranks", done, 0)

    async def _beside(self, at: int | None, rows: list[Any], mark: int) -> list[Apart]:
        """Return those whose rank or ties the index has otherwise, unless they themselves have changed."""
        users = [row["user_id"] for row in rows]
        # A page costs far less than its users one by one; who is not on it is looked up.
        page = {} if at is None else await self._copies.page(self._ranking, at, len(rows))
        missing = [user for user in users if user not in page]
        places = page | await self._copies.lookup(self._ranking, missing)
        versions = await self._copies.versions(self._ranking, users)
        found: list[Apart] = []
        for row, version in zip(rows, versions, strict=True):
            due, place = (row["rank"], row["ties"]), places.get(row["user_id"])
            if version == row["version"] <= mark and place is not None and place[:2] != due:
                by = max(abs(place.rank - due[0]), abs(place.ties - due[1]))
                found.append(Apart(row["user_id"], _standing(*place[:2]), _standing(*due), by))
        return found


def _granted(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailable(f"redis refused: {reply}") from reply
    return replies


async def _settled(connection: Connection) -> int:
    """Return a version such that a snapshot taken from now on shows every change up to it."""
    row = await connection.fetchrow(SQL["settled_version"])
    assert row is not None
    for _ in range(PATIENCE):
        if await connection.fetchval(SQL["are_through"], row["until"]):
            return int(row["version"])
        await asyncio.sleep(0.01)
    raise StoreUnavailable(
        "a transaction has been writing for a long time: ranks cannot be compared meanwhile"
    )


def _farthest(found: list[Apart]) -> list[Apart]:
    return sorted(found, key=lambda each: each.by, reverse=True)[:SUSPECTS]


def _key(ranking: Ranking) -> tuple[int, int, int]:
    return ranking.leaderboard_id, ranking.generation, ranking.season


def _prefix(stored: bytes | None) -> str:
    """Return what stands before the user in a member, by a value of the versions."""
    return "" if stored is None else stored.partition(b":")[2].decode()


def _told(entry: Entry | None) -> str | None:
    if entry is None:
        return None
    place = "not ranked" if entry.sort_key is None else f"sort key {entry.sort_key}"
    return f"{place}, version {entry.version}" + (f", tiebreak {entry.tiebreak}" if entry.tiebreak else "")


def _standing(rank: int, ties: int) -> str:
    return f"rank {rank}, ties {ties}"
