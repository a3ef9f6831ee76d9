"""The ranking index as the read side uses it: every question of the moment joins one round trip."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from prometheus_client import Counter, Histogram

from rank_service.envelopes import moment
from rank_service.questions import (
    Around,
    Asked,
    Counted,
    Found,
    Names,
    Near,
    Page,
    Places,
    Seen,
    Spread,
    Stood,
    Supposed,
    Tally,
    WhatIf,
)
from shared import profiles
from shared.coalesce import Coalescer
from shared.index import (
    Lookup,
    Miss,
    RankingIndex,
    Window,
    read_around,
    read_histogram,
    read_lookup,
    read_standing,
    read_tally,
    read_window,
)
from shared.index import Tally as Counts
from shared.profiles import Kept
from shared.ranking import HOT_PLACES, Ranking
from shared.wire import NONSENSE, Command

BATCH = 256
"""Questions in one round trip: about 2 ms of the server's time."""

NEIGHBOURHOODS = 64
"""Neighbourhoods read by one script: others get their turn in between."""

HOT_PAGES = 2_000
"""Pages kept in process, about 10 KB each; the one least recently asked for goes."""

USED = 1_000
"""Rankings remembered as in use, for the audit."""

EXTRAS = 1_000
"""Commands that may wait to come along; past it the oldest goes (they only fill caches)."""

QUESTIONS = Counter("leaderboard_rank_questions_total", "Questions asked of the ranking index.")
BATCHES = Histogram(
    "leaderboard_rank_batch_size",
    "Questions that shared a round trip.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)

T = TypeVar("T")
HotKey = tuple[str, int, int]
Hot: TypeAlias = "OrderedDict[HotKey, Window]"
Single = Page | WhatIf | Spread
Placed = Around | Near


class Asker(Protocol):
    """What can be asked: one server, or the nodes of a cluster (`rank_service.nodes`)."""

    def ask(self, question: Asked, /) -> Awaitable[Found | Miss]:
        """Ask one question; gives its answer, a `Miss`, or raises StoreUnavailable."""

    @property
    def used(self) -> Sequence[Ranking]:
        """Rankings asked for lately."""

    def send_along(self, command: Command) -> None:
        """Send a command with the next round trip; its reply is not looked at."""

    async def close(self) -> None:
        """Wait for the round trips under way."""


class Lookups:
    """Asks the index on behalf of all requests.

    Args:
        index: with a connection of its own; one round trip at a time.
        queue: questions that may wait; past it `overloaded`.
        named: whether profiles come along with places: they are on the same server.
    """

    def __init__(self, index: RankingIndex, *, queue: int, named: bool = True) -> None:
        self._index = index
        self._named = named
        self.coalescer: Coalescer[Asked, Found | Miss] = Coalescer(
            self._flush, name="ask the index", batch=BATCH, queue=queue
        )
        self._hot: Hot = OrderedDict()
        self._used: OrderedDict[str, Ranking] = OrderedDict()
        self._extras: list[Command] = []
        self.ask = self.coalescer.get
        """Ask one question; the future gives its answer, a `Miss`, or raises StoreUnavailable."""

    @property
    def used(self) -> Sequence[Ranking]:
        """Rankings asked for lately."""
        return list(self._used.values())

    def send_along(self, command: Command) -> None:
        """Send a command with the next round trip; its reply is not looked at."""
        if len(self._extras) >= EXTRAS:
            del self._extras[0]
        self._extras.append(command)

    async def close(self) -> None:
        """Wait for the round trip under way."""
        await self.coalescer.close()

    async def _flush(self, questions: Sequence[Asked]) -> Sequence[Found | Miss]:
        QUESTIONS.inc(len(questions))
        BATCHES.observe(len(questions))
        batch = _Batch(self._index, self._hot, questions, named=self._named)
        extras, self._extras = self._extras, []
        replies = await self._index.send(batch.commands, [*batch.plain, *extras])
        try:
            answers = batch.read(replies)
        except NONSENSE as error:
            raise await self._index.distrust() from error
        self._used |= batch.rankings
        for held, most in ((self._hot, HOT_PAGES), (self._used, USED)):
            while len(held) > most:
                held.popitem(last=False)
        return answers


class _Batch:
    """One round trip: questions merged into few commands, replies told apart again."""

    def __init__(self, index: RankingIndex, hot: Hot, questions: Sequence[Asked], *, named: bool) -> None:
        self._index = index
        self._hot = hot
        self._questions = questions
        self._named = named
        # Users by ranking and by game, each once, in order; other questions, each once.
        self._users: dict[str, tuple[Ranking, dict[str, int]]] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._around: dict[tuple[type[Placed], str], tuple[Ranking, dict[Any, int]]] = {}
        self._tallies: dict[str, tuple[Ranking, dict[int, int]]] = {}
        self._singles: dict[tuple[Any, ...], Single] = {}
        self._as_of = b""
        self._places: dict[str, Lookup | Miss] = {}
        self._tallied: dict[str, Counts | Miss] = {}
        self._windows: dict[tuple[type[Placed], str], list[Window | Miss]] = {}
        self._answers: dict[tuple[Any, ...], Found | Miss] = {}
        self._kept: dict[int, Kept] = {}
        for question in questions:
            self._merge(question)
        self.commands: list[Command] = [
            *(index.lookup(ranking, list(users)) for ranking, users in self._users.values()),
            *(
                (index.around if kind is Around else index.near)(ranking, chunk)
                for (kind, _), (ranking, asked) in self._around.items()
                for chunk in batched(list(asked), NEIGHBOURHOODS)
            ),
            *(index.tally(ranking, list(keys)) for ranking, keys in self._tallies.values()),
            *map(self._command, self._singles.values()),
        ]
        self.plain: list[Command] = [profiles.read(game_id, users) for game_id, users in self._names.items()]

    def read(self, replies: Sequence[Any]) -> list[Found | Miss]:
        """Read the replies to `commands` and `plain`; return an answer for each question."""
        self._as_of = moment()
        reply = iter(replies)
        for key, (ranking, _) in self._users.items():
            self._places[key] = read_lookup(ranking, next(reply))
        for kind, (ranking, asked) in self._around.items():
            windows = self._windows[kind] = []
            for chunk in batched(list(asked), NEIGHBOURHOODS):
                found = read_around(ranking, next(reply))
                windows += [found] * len(chunk) if isinstance(found, Miss) else found
        for key in self._tallies:
            self._tallied[key] = read_tally(next(reply))
        singles = [(key, question, next(reply)) for key, question in self._singles.items()]
        for game_id, names in self._names.items():
            self._kept[game_id] = profiles.read_kept(next(reply), len(names))
        for single, question, value in singles:
            self._answers[single] = self._read_single(question, value)
        return [self._answer(question) for question in self._questions]

    @property
    def rankings(self) -> dict[str, Ranking]:
        """The rankings asked about, whole ones."""
        singles = (question.ranking for question in self._singles.values())
        asked = (*self._users.values(), *self._around.values(), *self._tallies.values())
        rankings = (*singles, *(ranking for ranking, _ in asked))
        return {ranking.whole.name: ranking.whole for ranking in rankings}

    def _merge(self, question: Asked) -> None:
        if self._named or isinstance(question, Names):
            names = self._names.setdefault(question.game_id, {})
        if isinstance(question, Around | Near):
            ranking = question.ranking
            _, around = self._around.setdefault((type(question), ranking.name), (ranking, {}))
            around.setdefault(question[2:], len(around))
            return
        if isinstance(question, Tally):
            ranking = question.ranking
            _, keys = self._tallies.setdefault(ranking.name, (ranking, {}))
            for sort_key in question.sort_keys:
                keys.setdefault(sort_key, len(keys))
            return
        if not isinstance(question, Places | Names):
            self._singles[_key(question)] = question
            return
        if self._named or isinstance(question, Names):
            for user_id in question.user_ids:
                names.setdefault(user_id, len(names))
        if isinstance(question, Places):
            ranking = question.ranking
            _, users = self._users.setdefault(ranking.name, (ranking, {}))
            for user_id in question.user_ids:
                users.setdefault(user_id, len(users))

    def _command(self, question: Single) -> Command:
        ranking = question.ranking
        match question:
            case Page(_, _, offset, limit):
                held = self._hot.get(_hot_key(question))
                known = f"{held.stamp.token}/{held.stamp.page}" if held else ""
                return self._index.page(ranking, offset, limit, known)
            case WhatIf(_, _, score):
                return self._index.standing(ranking, score)
            case Spread(_, _, buckets):
                return self._index.histogram(ranking, buckets)

    def _answer(self, question: Asked) -> Found | Miss:
        if isinstance(question, Around | Near):
            kind = (type(question), question.ranking.name)
            return self._seen(question, self._windows[kind][self._around[kind][1][question[2:]]])
        if isinstance(question, Tally):
            counts = self._tallied[question.ranking.name]
            if isinstance(counts, Miss):
                return counts
            at = self._tallies[question.ranking.name][1]
            return counts._replace(counts=[counts.counts[at[key]] for key in question.sort_keys])
        if not isinstance(question, Places | Names):
            return self._answers[_key(question)]
        if self._named or isinstance(question, Names):
            names = self._names[question.game_id]
            version, fragments = self._kept[question.game_id]
            kept = Kept(version, [fragments[names[user_id]] for user_id in question.user_ids])
        else:
            kept = Kept(None, [None] * len(question.user_ids))
        if isinstance(question, Names):
            return kept
        key = question.ranking.name
        found = self._places[key]
        if isinstance(found, Miss):
            return found
        users = self._users[key][1]
        places = [found.places[users[user_id]] for user_id in question.user_ids]
        return Stood(found.stamp.total, self._as_of, places, kept)

    def _read_single(self, question: Single, reply: Any) -> Found | Miss:
        if isinstance(question, Page):
            return self._seen(question, self._read_window(question, reply))
        if isinstance(question, WhatIf):
            standing = read_standing(reply)
            if isinstance(standing, Miss):
                return standing
            return Supposed(standing.stamp.total, self._as_of, standing.rank, standing.ties)
        histogram = read_histogram(question.ranking, reply)
        if isinstance(histogram, Miss):
            return histogram
        return Counted(histogram.stamp.total, self._as_of, histogram.buckets)

    def _seen(self, question: Page | Placed, window: Window | Miss) -> Seen | Miss:
        if isinstance(window, Miss):
            return window
        version = self._kept[question.game_id].version if self._named else None
        return Seen(window.stamp, self._as_of, [] if window.rows is None else window.rows, version)

    def _read_window(self, question: Page, reply: Any) -> Window | Miss:
        window = read_window(question.ranking, reply)
        if isinstance(window, Miss):
            return window
        key = _hot_key(question)
        if window.rows is None:
            # Current: what came back are the counters; the rows are the ones held.
            window = window._replace(rows=self._hot[key].rows)
        if question.offset + question.limit <= HOT_PLACES:
            self._hot[key] = window
            self._hot.move_to_end(key)
        return window


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _key(question: Single) -> tuple[Any, ...]:
    return (type(question), question.ranking.name, *question[2:])


def _hot_key(page: Page) -> HotKey:
    return (page.ranking.name, page.offset, page.limit)
