"""The ranking index as the read side uses it: every question of the moment joins one round trip."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from prometheus_client import Counter, Histogram

from rank_service.envelopes import moment
from shared import profiles
from shared.coalesce import Coalescer
from shared.index import Lookup, Miss, RankingIndex, Stamp, Window, read_lookup, read_window
from shared.profiles import Kept
from shared.ranking import HOT_PLACES, Place, Ranking, Row
from shared.wire import Command

BATCH = 256
"""Questions in one round trip: about 2 ms of the server's time."""

HOT_PAGES = 2_000
"""Pages kept in process, about 10 KB each; the one least recently asked for goes."""

EXTRAS = 1_000
"""Commands that may wait to come along; past it the oldest goes (they only fill caches)."""

QUESTIONS = Counter("leaderboard_rank_questions_total", "Questions asked of the ranking index.")
BATCHES = Histogram(
    "leaderboard_rank_batch_size",
    "Questions that shared a round trip.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)


class Standing(NamedTuple):
    """One question of places: `places` in the order of the users asked for."""

    ranking: Ranking
    game_id: int
    user_ids: tuple[str, ...]


class Page(NamedTuple):
    """A page by offset."""

    ranking: Ranking
    game_id: int
    offset: int
    limit: int


class Around(NamedTuple):
    """The neighbourhood of a user."""

    ranking: Ranking
    game_id: int
    user_id: str
    radius: int


class Names(NamedTuple):
    """Profiles, once it is known whose."""

    game_id: int
    user_ids: tuple[str, ...]


class Stood(NamedTuple):
    """The answer to `Standing`."""

    total: int
    as_of: bytes
    places: Sequence[Place | None]
    profiles: Kept


class Seen(NamedTuple):
    """The answer to `Page` and `Around`; `profile_version` was read after nothing newer than the rows."""

    stamp: Stamp
    as_of: bytes
    rows: list[Row]
    profile_version: bytes | None


Question = Standing | Page | Around | Names
Answer = Stood | Seen | Kept | Miss


class Lookups:
    """Asks the index on behalf of all requests.

    Args:
        index: with a connection of its own; one round trip at a time.
        queue: questions that may wait; past it `overloaded`.
    """

    def __init__(self, index: RankingIndex, *, queue: int) -> None:
        self._index = index
        self._coalescer: Coalescer[Question, Answer] = Coalescer(self._flush, batch=BATCH, queue=queue)
        self._hot: OrderedDict[tuple[str, int, int], Window] = OrderedDict()
        self._extras: list[Command] = []
        self.ask = self._coalescer.get
        """Ask one question; the future gives its answer, or StoreUnavailable."""

    def send_along(self, command: Command) -> None:
        """Send a command with the next round trip; its reply is not looked at."""
        if len(self._extras) >= EXTRAS:
            del self._extras[0]
        self._extras.append(command)

    async def close(self) -> None:
        """Wait for the round trip under way."""
        await self._coalescer.close()

    async def _flush(self, questions: Sequence[Question]) -> Sequence[Answer]:
        QUESTIONS.inc(len(questions))
        BATCHES.observe(len(questions))
        batch = _Batch(self._index, self._hot, questions)
        extras, self._extras = self._extras, []
        replies = await self._index.send(batch.commands, [*batch.plain, *extras])
        answers = batch.read(replies)
        while len(self._hot) > HOT_PAGES:
            self._hot.popitem(last=False)
        return answers


class _Batch:
    """One round trip: questions merged into few commands, replies told apart again."""

    def __init__(
        self,
        index: RankingIndex,
        hot: OrderedDict[tuple[str, int, int], Window],
        questions: Sequence[Question],
    ) -> None:
        self._index = index
        self._hot = hot
        self._questions = questions
        # Users by ranking and by game, each once, in order; and windows by what tells them apart.
        self._users: dict[str, tuple[Ranking, dict[str, int]]] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._windows: dict[tuple[Any, ...], Page | Around] = {}
        self._as_of = b""
        self._places: dict[str, Lookup | Miss] = {}
        self._seen: dict[tuple[Any, ...], Seen | Miss] = {}
        self._kept: dict[int, Kept] = {}
        for question in questions:
            self._merge(question)
        self.commands: list[Command] = [
            *(index.lookup(ranking, list(users)) for ranking, users in self._users.values()),
            *map(self._window_command, self._windows.values()),
        ]
        self.plain: list[Command] = [profiles.read(game_id, users) for game_id, users in self._names.items()]

    def _merge(self, question: Question) -> None:
        names = self._names.setdefault(question.game_id, {})
        if isinstance(question, Page | Around):
            self._windows[_key(question)] = question
            return
        for user_id in question.user_ids:
            names.setdefault(user_id, len(names))
        if isinstance(question, Standing):
            ranking = question.ranking
            _, users = self._users.setdefault(ranking.keys[0], (ranking, {}))
            for user_id in question.user_ids:
                users.setdefault(user_id, len(users))

    def _window_command(self, question: Page | Around) -> Command:
        if isinstance(question, Around):
            return self._index.around(question.ranking, question.user_id, question.radius)
        held = self._hot.get(_hot_key(question))
        known = f"{held.stamp.token}/{held.stamp.page}" if held else ""
        return self._index.page(question.ranking, question.offset, question.limit, known)

    def read(self, replies: Sequence[Any]) -> list[Answer]:
        """Read the replies to `commands` and `plain`; return an answer for each question."""
        self._as_of = moment()
        reply = iter(replies)
        for key, (ranking, _) in self._users.items():
            self._places[key] = read_lookup(ranking, next(reply))
        windows = [(key, self._read_window(question, next(reply))) for key, question in self._windows.items()]
        for game_id, names in self._names.items():
            self._kept[game_id] = profiles.read_kept(next(reply), len(names))
        for page, window in windows:
            self._seen[page] = self._see(self._windows[page], window)
        return [self._answer(question) for question in self._questions]

    def _answer(self, question: Question) -> Answer:
        if isinstance(question, Page | Around):
            return self._seen[_key(question)]
        names = self._names[question.game_id]
        version, fragments = self._kept[question.game_id]
        kept = Kept(version, [fragments[names[user_id]] for user_id in question.user_ids])
        if isinstance(question, Names):
            return kept
        key = question.ranking.keys[0]
        found = self._places[key]
        if isinstance(found, Miss):
            return found
        users = self._users[key][1]
        places = [found.places[users[user_id]] for user_id in question.user_ids]
        return Stood(found.stamp.total, self._as_of, places, kept)

    def _see(self, question: Page | Around, window: Window | Miss) -> Seen | Miss:
        if isinstance(window, Miss):
            return window
        return Seen(window.stamp, self._as_of, window.rows or [], self._kept[question.game_id].version)

    def _read_window(self, question: Page | Around, reply: Any) -> Window | Miss:
        window = read_window(question.ranking, reply)
        if isinstance(window, Miss) or isinstance(question, Around):
            return window
        key = _hot_key(question)
        if window.rows is None:
            # Current: what came back are the counters; the rows are the ones held.
            window = window._replace(rows=self._hot[key].rows)
        if question.offset + question.limit <= HOT_PLACES:
            self._hot[key] = window
            self._hot.move_to_end(key)
        return window


def _key(question: Page | Around) -> tuple[Any, ...]:
    return (question.ranking.keys[0], *question[2:])


def _hot_key(page: Page) -> tuple[str, int, int]:
    return (page.ranking.keys[0], page.offset, page.limit)
