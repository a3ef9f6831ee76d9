"""Where does someone stand, who is around them, what would a score be worth: exact, encoded already."""

from __future__ import annotations

from collections.abc import Sequence

from rank_service import envelopes
from rank_service.answers import Answers
from rank_service.names import Profiles
from rank_service.pages import encode_figures, encode_rows, figures_of
from rank_service.questions import Around, Counted, Places, Seen, Spread, Stood, Supposed, WhatIf
from rank_service.rules import View
from rank_service.store import Store
from rank_service.yesterday import Yesterday
from shared.errors import LeaderboardError, not_found
from shared.messages import RankHistory, RankOnDay, Source
from shared.names import clean, is_user_id
from shared.ranking import Place, Row


class Rankings:
    """Answers questions about one ranking; each raises what `Answers.ask` does."""

    def __init__(self, answers: Answers, profiles: Profiles, yesterday: Yesterday, store: Store) -> None:
        self._yesterday = yesterday
        self._store = store
        self._answers = answers
        self._profiles = profiles

    async def entry(self, asked: View, user_id: str, deadline: float) -> bytes:
        """Answer one user's entry.

        Raises:
            LeaderboardError: `entry_not_found`.
        """
        question = Places(asked.ranking, asked.board.game_id, (_possible(user_id),))
        source, stood = await self._answers.ask(question, deadline)
        if stood.places[0] is None:
            raise _no_entry(asked, user_id)
        profile = stood.profiles.fragments[0]
        if profile is None:
            named = await self._profiles.complete(asked.board.game_id, (user_id,), stood.profiles)
            profile = named.fragments[0]
        before = await self._yesterday.rank(asked.ranking, user_id)
        return entry_of(asked, source, stood, user_id, profile, before)

    async def around(self, asked: View, user_id: str, radius: int, deadline: float) -> bytes:
        """Answer one user's entry and up to `radius` entries on each side.

        Raises:
            LeaderboardError: `entry_not_found`.
        """
        seen: Seen
        question = Around(asked.ranking, asked.board.game_id, _possible(user_id), radius)
        source, seen = await self._answers.ask(question, deadline)
        if not seen.rows:
            raise _no_entry(asked, user_id)
        users = [row.user_id for row in seen.rows]
        named = await self._profiles.of(asked.board.game_id, users, seen.profile_version)
        before = await self._yesterday.rank(asked.ranking, user_id)
        return around_of(asked, source, seen, user_id, named.fragments, before)

    async def history(self, asked: View, user_id: str, days: int, deadline: float) -> RankHistory:
        """Return where a user stood at the end of the last days, oldest first.

        Raises:
            LeaderboardError: `entry_not_found`, for who is hidden too.
        """
        question = Places(asked.ranking, asked.board.game_id, (_possible(user_id),))
        _, stood = await self._answers.ask(question, deadline)
        if stood.places[0] is None:
            raise _no_entry(asked, user_id)
        rows = await self._store.ranks_of_user(asked.ranking, user_id, days)
        return RankHistory(asked.board.leaderboard, asked.season, user_id, [RankOnDay(*row) for row in rows])

    async def lookup(self, asked: View, user_ids: Sequence[str], deadline: float) -> bytes:
        """Answer the entries of users, best first, and who of them has none."""
        stood: Stood
        game_id = asked.board.game_id
        users = tuple(dict.fromkeys(user_ids))
        source, stood = await self._answers.ask(Places(asked.ranking, game_id, users), deadline)
        placed = zip(users, stood.places, strict=True)
        # Rank, then user id: the order of the ranking itself, as under `first` no rank is shared.
        rows = sorted(
            (Row(user, place) for user, place in placed if place),
            key=lambda row: (row.place.rank, row.user_id),
        )
        named = await self._profiles.complete(game_id, users, stood.profiles)
        names = dict(zip(users, named.fragments, strict=True))
        missing = [user for user, place in zip(users, stood.places, strict=True) if place is None]
        rest = encode_rows(rows, [names[row.user_id] for row in rows]) + envelopes.field("missing", missing)
        return envelopes.envelope(asked.head, stood.total, source, stood.as_of, rest)

    async def what_if(self, asked: View, score: int, deadline: float) -> bytes:
        """Answer the rank a score would have."""
        supposed: Supposed
        question = WhatIf(asked.ranking, asked.board.game_id, score)
        source, supposed = await self._answers.ask(question, deadline)
        rest = b'"score":%d,"rank":%d,"ties":%d' % (score, supposed.rank, supposed.ties)
        return envelopes.envelope(asked.head, supposed.total, source, supposed.as_of, rest)

    async def distribution(self, asked: View, buckets: int, deadline: float) -> bytes:
        """Answer how many players there are in equal ranges of scores."""
        counted: Counted
        question = Spread(asked.ranking, asked.board.game_id, buckets)
        source, counted = await self._answers.ask(question, deadline)
        ranges = [{"from": low, "to": high, "count": count} for low, high, count in counted.buckets]
        rest = envelopes.field("buckets", ranges)[1:]
        return envelopes.envelope(asked.head, counted.total, source, counted.as_of, rest)


def entry_of(
    asked: View, source: Source, stood: Stood, user_id: str, profile: bytes, before: int | None
) -> bytes:
    """Encode the entry of the one user asked about; `before` is yesterday's rank."""
    place = stood.places[0]
    assert place is not None
    risen = envelopes.rank_change(place, before)
    rest = envelopes.single(user_id, place, stood.total, profile, risen)
    return envelopes.envelope(asked.head, stood.total, source, stood.as_of, rest)


def around_of(
    asked: View, source: Source, seen: Seen, user_id: str, profiles: Sequence[bytes], before: int | None
) -> bytes:
    """Encode a neighbourhood of a user who is in it; `before` is that user's rank of yesterday."""
    total = seen.stamp.total
    lines, wanted = figures_of(seen.rows), user_id.encode()
    own = next(i for i, line in enumerate(lines) if line[1] == wanted)
    rank, _, score, ties, better = lines[own]
    place = Place(rank, ties, score, better)
    single = envelopes.single(user_id, place, total, profiles[own], envelopes.rank_change(place, before))
    rest = single + b"," + encode_figures(lines, profiles)
    return envelopes.envelope(asked.head, total, source, seen.as_of, rest)


def _possible(user_id: str) -> str:
    """Return a user id that could exist; 404 for any other."""
    if not is_user_id(user_id):
        raise not_found("entry", f"{clean(user_id)!r} cannot be a user")
    return user_id


def _no_entry(asked: View, user_id: str) -> LeaderboardError:
    return not_found("entry", f"{clean(user_id)} has no entry in {asked.board.leaderboard}")
