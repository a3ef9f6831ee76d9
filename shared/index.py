"""The ranking index: the disposable copy of a season's order, kept in Redis.

It is never the truth. Every copy is fenced by entry versions, records where it was made, and is a
miss whenever anything about it does not fit; whoever misses falls back to Postgres and starts a
load. The scripts in `lua/` hold the rules; this module speaks their language.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from secrets import token_hex
from typing import Any, NamedTuple

from redis.exceptions import AskError, ClusterDownError, ResponseError, TryAgainError

from shared.errors import StoreUnavailable
from shared.ranking import HOT_PLACES, Entry, Place, Ranking, Row, reckon
from shared.wire import NONSENSE, ORIGIN, SHA, Command, Line

log = logging.getLogger(__name__)

LOCK_MS = 15_000
"""A loader that shows no life for this long has lost its load."""

Changes = Mapping[Ranking, Sequence[Entry]]
"""Changed entries by ranking."""

PREFIX_WIDTH = 17
"""Digits of a tiebreak in a member: microseconds since 1970 fit until the year 5138."""


class Miss(NamedTuple):
    """The index cannot answer: `miss` (nobody loads it), `loading`, or `moving` (between cluster nodes).

    While it loads, `version` changes with every apply: what Postgres answers to a question asked
    after the version was read may be kept under it.
    """

    status: str
    version: str = ""


class Stamp(NamedTuple):
    """Which copy answered: a hot page is current while token and page are."""

    token: str
    page: int
    total: int


class Placed(NamedTuple):
    """What an apply did to one user; rank, ties and score are None when hidden."""

    previous_rank: int | None
    rank: int | None
    ties: int | None
    score: int | None
    previous_score: int | None = None


class Applied(NamedTuple):
    """The answer of a ready index to an apply: one `Placed` for each entry, in order."""

    stamp: Stamp
    placed: list[Placed]


class Lookup(NamedTuple):
    """The answer of a ready index to a lookup: a place, or None, for each user, in order."""

    stamp: Stamp
    places: list[Place | None]


class Window(NamedTuple):
    """Consecutive rows of a ready index; `rows` is None when the caller's copy is current."""

    stamp: Stamp
    rows: Sequence[Row] | None


class Standing(NamedTuple):
    """The rank a score would have, and how many are on it now."""

    stamp: Stamp
    rank: int
    ties: int


class Tally(NamedTuple):
    """How many are better than each of some sort keys, and how many are on it; the ends (None: empty)."""

    stamp: Stamp
    least: int | None
    greatest: int | None
    counts: list[tuple[int, int]]


class Bucket(NamedTuple):
    """A range of scores, both ends in it, and the players there."""

    lowest: int
    highest: int
    players: int


class Held(NamedTuple):
    """What the copy holds of users: an `Entry` each, None for one it does not know."""

    stamp: Stamp
    entries: list[Entry | None]


class Histogram(NamedTuple):
    """Equal ranges of scores from the lowest score to the highest."""

    stamp: Stamp
    buckets: list[Bucket]


class RankingIndex:
    """Speaks to the ranking indexes of one Redis on behalf of one service.

    Args:
        line: the way there; a server's identity is part of every copy's origin.
        idle_ms: an index not used for this long expires.
    """

    def __init__(self, line: Line, *, idle_ms: int) -> None:
        self._line = line
        self._idle = str(idle_ms)
        self.database_identity = ""
        """System identifier and timeline of Postgres; set by whoever connects to it."""

    async def send(self, commands: Sequence[Command], plain: Sequence[Command] = ()) -> list[Any]:
        """Run commands, each made by a method below, in one round trip; `plain` ones after them.

        Commands are built without the origin, which is filled in where they are sent: it must be that
        of the connection they are sent on. Commands of others (profiles) may come along.

        Raises:
            StoreUnavailable: Redis cannot be reached, or did not answer in time.
        """
        if not self.database_identity:
            raise StoreUnavailable("the database has not been seen yet")
        return await self._line.send([*commands, *plain], self.database_identity)

    async def write(self, changed: Changes, plain: Sequence[Command] = ()) -> dict[Ranking, Applied | Miss]:
        """Apply changed entries, `plain` commands after them; return what became of each part.

        Raises:
            StoreUnavailable: some entries may not have been applied; the copies may lack them.
        """
        return (await self.write_all([changed], plain))[0]

    async def write_all(
        self, batches: Sequence[Changes], plain: Sequence[Command] = ()
    ) -> list[dict[Ranking, Applied | Miss]]:
        """Apply batches of changed entries one after the other, in one round trip; see `write`.

        A copy that refuses them (no memory left, a key of another type) is given up: it would lack
        what Postgres has.
        """
        asked: list[tuple[int, Ranking, list[Entry]]] = []
        for number, changed in enumerate(batches):
            parts: dict[Ranking, list[Entry]] = {}
            for ranking, entries in changed.items():
                for entry in entries:
                    parts.setdefault(ranking.part_of(entry.user_id), []).append(entry)
            asked += [(number, part, entries) for part, entries in parts.items()]
        replies = await self.send([self.apply(part, entries) for _, part, entries in asked], plain)
        told = list(zip(asked, replies, strict=False))
        if refused := {part: e for (_, part, _), e in told if isinstance(e, ResponseError)}:
            gone = await self.send([], [("UNLINK", *part.keys) for part in refused])
            if any(isinstance(reply, ResponseError) for reply in gone):
                raise StoreUnavailable(f"the index refuses entries: {next(iter(refused.values()))}")
        answers: list[dict[Ranking, Applied | Miss]] = [{} for _ in batches]
        try:
            for (number, part, _), reply in told:
                # What a copy said of later batches, after it had refused one, is of no account.
                answers[number][part] = Miss("miss") if part in refused else read_applied(part, reply)
        except NONSENSE as error:
            raise await self.distrust() from error
        return answers

    async def distrust(self) -> StoreUnavailable:
        """Close the connections: a reply made no sense, and those behind it may belong to others.

        Call it while the error is handled, which is logged; returns what to raise instead.
        """
        log.exception("redis answered nonsense")
        await self._line.close()
        return StoreUnavailable("redis answered nonsense")

    def apply(self, ranking: Ranking, entries: Iterable[Entry]) -> Command:
        """Build the command that applies changed entries (an `Applied` or a `Miss`); see `write`."""
        args: list[Any] = []
        first = ranking.ties == "first"
        for user_id, version, sort_key, tiebreak in entries:
            prefix = f"{tiebreak:0{PREFIX_WIDTH}}" if first else ""
            args += (user_id, version, "" if sort_key is None else sort_key, prefix)
        return _script("write", ranking, self._idle, ranking.ties, HOT_PLACES, *args)

    def load(self, ranking: Ranking, token: str, entries: Iterable[Entry]) -> Command:
        """Build the command that writes one chunk of a load, each user once (see `held`)."""
        args: list[Any] = []
        first = ranking.ties == "first"
        for user_id, version, sort_key, tiebreak in entries:
            args += (user_id, version, "" if sort_key is None else sort_key)
            if first:
                args.append(f"{tiebreak:0{PREFIX_WIDTH}}")
        return _script("load", ranking, token, LOCK_MS, ranking.ties, *args)

    def lookup(self, ranking: Ranking, user_ids: Sequence[str]) -> Command:
        """Build the command that finds the places of users (a `Lookup` or a `Miss`)."""
        return _script("lookup", ranking, self._idle, ranking.ties, *user_ids)

    def page(self, ranking: Ranking, offset: int, limit: int, known: str = "") -> Command:
        """Build the command that reads a page (a `Window` or a `Miss`); `known` is `Stamp` as token/page."""
        return _script("window", ranking, self._idle, ranking.ties, offset, limit, known)

    def around(self, ranking: Ranking, asked: Iterable[tuple[str, int]]) -> Command:
        """Build the command that reads neighbourhoods by user and radius (see `read_around`)."""
        return _script("around", ranking, self._idle, ranking.ties, *chain.from_iterable(asked))

    def near(self, ranking: Ranking, asked: Iterable[tuple[int, str, int]]) -> Command:
        """Build the command that reads around places by sort key, user and radius (see `read_around`).

        The users need not be there: rows before and behind where they would be are read.
        """
        return _script("near", ranking, self._idle, ranking.ties, *chain.from_iterable(asked))

    def tally(self, ranking: Ranking, sort_keys: Iterable[int]) -> Command:
        """Build the command that counts who is better than, and on, sort keys (a `Tally` or a `Miss`)."""
        return _script("tally", ranking, self._idle, *sort_keys)

    def standing(self, ranking: Ranking, score: int) -> Command:
        """Build the command that finds the rank a score would have (a `Standing` or a `Miss`)."""
        return _script("standing", ranking, self._idle, ranking.ties, ranking.sort_key(score))

    def histogram(self, ranking: Ranking, buckets: int) -> Command:
        """Build the command that counts players in ranges of scores (a `Histogram` or a `Miss`)."""
        return _script("histogram", ranking, self._idle, buckets)

    def peek(self, ranking: Ranking, user_ids: Sequence[str]) -> Command:
        """Build the command that tells what is held of users (a `Held` or a `Miss`)."""
        return _script("peek", ranking, *user_ids)

    def drop(self, ranking: Ranking, token: str) -> Command:
        """Build the command that gives one copy up, so that it is loaded anew."""
        return _script("drop", ranking, token)

    def purge(self, ranking: Ranking, users: Sequence[tuple[str, int]]) -> Command:
        """Build the command that forgets users (id, version) who are in no ranking any more."""
        return _script("purge", ranking, *(value for user in users for value in user))

    async def begin(self, ranking: Ranking) -> tuple[str, str]:
        """Try to take the load lock; return (`mine`, `loading` or `ready`, the lock's token)."""
        token = token_hex(8)
        (reply,) = await self.send([_script("begin", ranking, token, LOCK_MS)])
        if isinstance(reply, ResponseError):
            raise StoreUnavailable(str(reply)) from reply
        try:
            return reply.decode(), token
        except NONSENSE as error:
            raise await self.distrust() from error

    async def finish(self, ranking: Ranking, token: str) -> bool:
        """Declare a load whole; False when the lock was lost meanwhile."""
        (reply,) = await self.send([_script("finish", ranking, token, self._idle)])
        return bool(reply == 1)


def _script(name: str, ranking: Ranking, *args: Any) -> Command:
    return ("EVALSHA", SHA[name], 4, *ranking.keys, ORIGIN, *args)


def read_applied(ranking: Ranking, reply: Any) -> Applied | Miss:
    """Read the reply to `apply`."""
    if (miss := _miss(reply)) is not None:
        return miss
    placed = [
        Placed(
            reply[i],
            reply[i + 1],
            reply[i + 2],
            ranking.score(int(reply[i + 3])) if reply[i + 3] else None,
            ranking.score(int(reply[i + 4])) if reply[i + 4] else None,
        )
        for i in range(4, len(reply), 5)
    ]
    return Applied(_stamp(reply), placed)


def read_lookup(ranking: Ranking, reply: Any) -> Lookup | Miss:
    """Read the reply to `lookup`."""
    if (miss := _miss(reply)) is not None:
        return miss
    found: list[Place | None] = [
        None
        if reply[i] is None
        else Place(reply[i], reply[i + 1], ranking.score(int(reply[i + 2])), reply[i + 3])
        for i in range(4, len(reply), 4)
    ]
    return Lookup(_stamp(reply), found)


def read_window(ranking: Ranking, reply: Any) -> Window | Miss:
    """Read the reply to `page`."""
    if (miss := _miss(reply)) is not None:
        return miss
    return Window(_stamp(reply), _read(ranking, reply[4]) if len(reply) > 4 else None)


def read_around(ranking: Ranking, reply: Any) -> list[Window] | Miss:
    """Read the reply to `around` and `near`: a window for each; no rows for who has no entry."""
    if (miss := _miss(reply)) is not None:
        return miss
    stamp = _stamp(reply)
    return [Window(stamp, _read(ranking, frame) if frame else []) for frame in reply[4:]]


def _read(ranking: Ranking, frame: list[Any]) -> Sequence[Row]:
    return Rows(ranking, frame) if len(frame) > 1 else []


class Rows(Sequence[Row]):
    """Rows as figures, which answers are encoded from; made into `Row`s for who wants those."""

    __slots__ = ("_made", "figures")

    def __init__(self, ranking: Ranking, frame: list[Any]) -> None:
        start, better, first_rank, first_ties, last_ties, skip, count, found = frame
        shown = slice(2 * skip, 2 * (skip + count))
        users, keys = found[shown][::2], found[shown][1::2]
        if ranking.ties == "first":
            users = [member[PREFIX_WIDTH:] for member in users]
        sign = -1 if ranking.order == "desc" else 1
        scores = [sign * int(key) for key in keys]
        self.figures = reckon(ranking.ties, start, better, first_rank, first_ties, last_ties, scores, users)
        self._made: list[Row] | None = None

    def _rows(self) -> list[Row]:
        if self._made is None:
            self._made = [
                Row(user_id.decode(), Place(rank, ties, score, better))
                for rank, user_id, score, ties, better in self.figures
            ]
        return self._made

    def __len__(self) -> int:
        return len(self.figures)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())

    def __getitem__(self, index: Any) -> Any:
        return self._rows()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._rows() == list(other)

    __hash__ = None  # type: ignore[assignment]


def read_tally(reply: Any) -> Tally | Miss:
    """Read the reply to `tally`."""
    if (miss := _miss(reply)) is not None:
        return miss
    least, greatest = (None if reply[i] is None else int(reply[i]) for i in (4, 5))
    return Tally(_stamp(reply), least, greatest, list(zip(reply[6::2], reply[7::2], strict=True)))


def read_standing(reply: Any) -> Standing | Miss:
    """Read the reply to `standing`."""
    if (miss := _miss(reply)) is not None:
        return miss
    return Standing(_stamp(reply), reply[4], reply[5])


def read_histogram(ranking: Ranking, reply: Any) -> Histogram | Miss:
    """Read the reply to `histogram`."""
    if (miss := _miss(reply)) is not None:
        return miss
    ranges = [
        (ranking.score(int(reply[i])), ranking.score(int(reply[i + 1])), reply[i + 2])
        for i in range(4, len(reply), 3)
    ]
    return Histogram(_stamp(reply), sorted(Bucket(min(a, b), max(a, b), count) for a, b, count in ranges))


def read_held(user_ids: Sequence[str], reply: Any) -> Held | Miss:
    """Read the reply to `peek` of these users."""
    if (miss := _miss(reply)) is not None:
        return miss
    entries: list[Entry | None] = []
    for user_id, i in zip(user_ids, range(4, len(reply), 3), strict=True):
        version, prefix, sort_key = reply[i : i + 3]
        if version is None:
            entries.append(None)
            continue
        key = None if sort_key is None else int(sort_key)
        entries.append(Entry(user_id, int(version), key, int(prefix) if prefix else 0))
    return Held(_stamp(reply), entries)


def held(reply: Any) -> bool:
    """Say whether a loaded chunk was taken, so the load lock is still ours."""
    return isinstance(reply, list) and reply[0] == b"loading"


_MOVING = (AskError, ClusterDownError, TryAgainError)
"""A cluster moves these keys, or is about to say who has them: a load would be refused as well."""


def _stamp(reply: list[Any]) -> Stamp:
    return Stamp(reply[1].decode(), reply[2], reply[3])


def _miss(reply: Any) -> Miss | None:
    # An error reply (a key of another type in place, say) is a miss: the load begins with a clean slate.
    if isinstance(reply, ResponseError):
        return Miss("moving" if isinstance(reply, _MOVING) else "miss")
    status = reply[0]
    if status == b"ready":
        return None
    return Miss(status.decode(), f"{reply[1].decode()}/{reply[2]}" if len(reply) > 1 else "")
