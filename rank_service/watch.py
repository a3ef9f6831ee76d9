"""Watched users of one stream's ranking: who moved, from where, overtaken by whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rank_service import envelopes
from rank_service.answers import Answers
from rank_service.names import Profiles
from rank_service.questions import Places, Stood
from rank_service.rules import View
from shared.messages import Source
from shared.profiles import Kept
from shared.ranking import Place

CHUNK = 500
"""Users of one question: about 2 ms of the index server's time."""

CHANGED = 200
"""Changed users remembered between two looks, for `overtaken_by`; past it the oldest go."""

REMEMBERED = 5_000
"""Users whose last place is remembered, to know who was ahead before."""

OVERTAKERS = 10
"""Users named in `overtaken_by`, at most."""


class Move(NamedTuple):
    """Where a user is now, where they were, and who went past."""

    user_id: str
    place: Place | None
    previous_rank: int | None = None
    overtaken_by: Sequence[str] = ()


class Watch:
    """What is known of the users someone watches."""

    def __init__(self, answers: Answers, profiles: Profiles) -> None:
        self._answers = answers
        self._profiles = profiles
        self._told: dict[str, Place | None] = {}
        self._changed: OrderedDict[str, None] = OrderedDict()
        self._places: OrderedDict[str, Place | None] = OrderedDict()

    @property
    def pending(self) -> bool:
        """Whether a look could tell something new: someone is watched."""
        return bool(self._told)

    def notice(self, users: Iterable[str]) -> None:
        """Remember whose entries changed."""
        if self._told:
            for user_id in users:
                self._changed[user_id] = None
            while len(self._changed) > CHANGED:
                self._changed.popitem(last=False)

    async def add(self, view: View, user_id: str, deadline: float) -> bytes | None:
        """Watch a user; return their entry as it is, None when they have none."""
        source, stood = await self._ask(view, (user_id,), deadline)
        place = stood.places[0]
        self._told[user_id] = place
        self._remember({user_id: place})
        return None if place is None else await self._event(view, source, stood, 0, Move(user_id, place))

    def remove(self, user_id: str) -> None:
        """Watch a user no longer."""
        self._told.pop(user_id, None)

    async def look(self, view: View, deadline: float) -> dict[str, bytes]:
        """Look at everyone watched; return an event for each who moved."""
        changed, self._changed = self._changed, OrderedDict()
        users = list(dict.fromkeys([*self._told, *changed]))
        before = {user_id: self._places.get(user_id) for user_id in changed} | self._told
        answers = [
            (chunk, *await self._ask(view, chunk, deadline))
            for chunk in (tuple(users[i : i + CHUNK]) for i in range(0, len(users), CHUNK))
        ]
        now = {
            user: place
            for chunk, _, stood in answers
            for user, place in zip(chunk, stood.places, strict=True)
        }
        events: dict[str, bytes] = {}
        for chunk, source, stood in answers:
            for i, user_id in enumerate(chunk):
                # Whoever has left meanwhile is told nothing.
                if user_id in self._told and _moved(self._told[user_id], now[user_id]):
                    previous, self._told[user_id] = self._told[user_id], now[user_id]
                    overtakers = overtaken_by(user_id, before, now, changed)
                    move = Move(user_id, now[user_id], previous.rank if previous else None, overtakers)
                    events[user_id] = await self._event(view, source, stood, i, move)
        self._remember(now)
        return events

    async def _event(self, view: View, source: Source, stood: Stood, i: int, move: Move) -> bytes:
        """Encode an event; `i` is where the user stands in the answer."""
        user_id, place, previous_rank, overtakers = move
        if place is None:
            return envelopes.envelope(view.head, stood.total, source, stood.as_of, b'"entry":null')
        kept = Kept(stood.profiles.version, [stood.profiles.fragments[i]])
        named = await self._profiles.complete(view.board.game_id, (user_id,), kept)
        entry = envelopes.single(user_id, place, stood.total, named.fragments[0])
        more = envelopes.field("previous_rank", previous_rank) + envelopes.field("overtaken_by", overtakers)
        return envelopes.envelope(view.head, stood.total, source, stood.as_of, entry[:-1] + more + b"}")

    def _remember(self, places: Mapping[str, Place | None]) -> None:
        self._places.update(places)
        for user_id in places:
            self._places.move_to_end(user_id)
        while len(self._places) > REMEMBERED:
            self._places.popitem(last=False)

    async def _ask(self, view: View, users: tuple[str, ...], deadline: float) -> tuple[Source, Stood]:
        return await self._answers.ask(Places(view.ranking, view.board.game_id, users), deadline)


def _moved(before: Place | None, now: Place | None) -> bool:
    if before is None or now is None:
        return before is not now
    return (before.rank, before.score) != (now.rank, now.score)


def overtaken_by(
    user_id: str,
    before: Mapping[str, Place | None],
    now: Mapping[str, Place | None],
    changed: Iterable[str],
) -> list[str]:
    """Return changed users who are ahead now and are not known to have been ahead before, nearest first."""
    mine, mine_before = now[user_id], before.get(user_id)
    if mine is None or mine_before is None or mine.rank <= mine_before.rank:
        return []
    found = []
    for other in changed:
        place, place_before = now[other], before.get(other)
        was_ahead = place_before is not None and place_before.rank < mine_before.rank
        if place is not None and place.rank < mine.rank and not was_ahead:
            found.append((-place.rank, other))
    return [other for _, other in sorted(found)][:OVERTAKERS]
