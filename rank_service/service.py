"""Where is someone, and who is around them: from the index, else from Postgres, exact either way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, cast

from prometheus_client import Counter

from rank_service import envelopes
from rank_service.envelopes import Body
from rank_service.fallback import Fallback
from rank_service.index import Around, Lookups, Page, Seen, Standing, Stood
from rank_service.names import Profiles
from rank_service.rules import View, view
from shared.errors import StoreUnavailable, not_found
from shared.index import Miss
from shared.loading import Loader
from shared.messages import Source
from shared.names import clean, is_user_id
from shared.ranking import Board, Row

RENDERED_PAGES = 2_000
"""Pages kept as bytes, about 10 KB each; the one least recently asked for goes."""

VIEWS = 10_000
"""Seasons of leaderboards whose frame is kept; past it all are made anew."""

MISSES = Counter("leaderboard_rank_misses_total", "Questions the index could not answer.", ["status"])


class Rendered(NamedTuple):
    """A page as bytes, and what it was made of: current while these are."""

    rows: list[Row]
    head: bytes
    profile_version: bytes
    content: bytes
    digest: bytes


class Rankings:
    """Answers questions about one ranking; every answer is encoded already."""

    def __init__(self, lookups: Lookups, fallback: Fallback, profiles: Profiles, loader: Loader) -> None:
        self._lookups = lookups
        self._fallback = fallback
        self._profiles = profiles
        self._loader = loader
        self._views: dict[tuple[int, str], View] = {}
        self._rendered: OrderedDict[tuple[str, int, int], Rendered] = OrderedDict()
        self.behind: frozenset[str] = frozenset()
        """Rankings (by their first key) whose index lacks answered writes: not to be asked."""

    def view(self, board: Board, season: str) -> View:
        """Find the season a reader means.

        Raises:
            LeaderboardError: `season_not_found` or `leaderboard_building`.
        """
        key = (board.leaderboard_id, season)
        known = self._views.get(key)
        if known is None or known.board is not board:
            if len(self._views) >= VIEWS:
                self._views.clear()
            known = self._views[key] = view(board, season)
        return known

    async def entry(self, asked: View, user_id: str, deadline: float) -> bytes:
        """Answer one user's entry.

        Raises:
            LeaderboardError: `entry_not_found`, `overloaded`.
            StoreUnavailable: neither store can answer.
        """
        source, stood = await self._standing(asked, (known_user(user_id),), deadline)
        place = stood.places[0]
        if place is None:
            raise no_entry(asked, user_id)
        profile = stood.profiles.fragments[0]
        if profile is None:
            named = await self._profiles.complete(asked.board.game_id, (user_id,), stood.profiles)
            profile = named.fragments[0]
        rest = envelopes.single(user_id, place, stood.total, profile)
        return envelopes.envelope(asked.head, stood.total, source, stood.as_of, rest)

    async def top(self, asked: View, offset: int, limit: int, deadline: float) -> Body:
        """Answer a page by offset.

        Raises:
            LeaderboardError: `overloaded`.
            StoreUnavailable: neither store can answer.
        """
        question = Page(asked.ranking, asked.board.game_id, offset, limit)
        source, seen = await self._seen(question, deadline)
        key = (asked.ranking.keys[0], offset, limit)
        page = self._rendered.get(key)
        if (
            page is None
            or page.rows is not seen.rows
            or page.profile_version != seen.profile_version
            or page.head != asked.head
        ):
            page = await self._render(asked, key, source, seen)
        total = seen.stamp.total
        etag = b'W/"%b-%d-%b"' % (page.digest, total, source.encode())
        return Body(envelopes.envelope(asked.head, total, source, seen.as_of, page.content), etag)

    async def around(self, asked: View, user_id: str, radius: int, deadline: float) -> bytes:
        """Answer one user's entry and up to `radius` entries on each side.

        Raises:
            LeaderboardError: `entry_not_found`, `overloaded`.
            StoreUnavailable: neither store can answer.
        """
        question = Around(asked.ranking, asked.board.game_id, known_user(user_id), radius)
        source, seen = await self._seen(question, deadline)
        if not seen.rows:
            raise no_entry(asked, user_id)
        users = [row.user_id for row in seen.rows]
        fragments = (await self._profiles.of(asked.board.game_id, users)).fragments
        own = users.index(user_id)
        total = seen.stamp.total
        single = envelopes.single(user_id, seen.rows[own].place, total, fragments[own])
        rest = single + b"," + encode_rows(seen.rows, fragments)
        return envelopes.envelope(asked.head, total, source, seen.as_of, rest)

    async def _render(self, asked: View, key: tuple[str, int, int], source: Source, seen: Seen) -> Rendered:
        """Encode a page; keep it while it can be told to be current."""
        users = [row.user_id for row in seen.rows]
        named = await self._profiles.of(asked.board.game_id, users)
        content = encode_rows(seen.rows, named.fragments)
        digest = envelopes.digest(asked.head, content)
        version = seen.profile_version
        page = Rendered(seen.rows, asked.head, version or b"", content, digest)
        if source == "index" and version is not None and named.whole:
            self._rendered[key] = page
            self._rendered.move_to_end(key)
            if len(self._rendered) > RENDERED_PAGES:
                self._rendered.popitem(last=False)
        return page

    async def _standing(
        self, asked: View, user_ids: tuple[str, ...], deadline: float
    ) -> tuple[Source, Stood]:
        question = Standing(asked.ranking, asked.board.game_id, user_ids)
        source, answer = await self._ask(question, deadline)
        return source, cast(Stood, answer)

    async def _seen(self, question: Page | Around, deadline: float) -> tuple[Source, Seen]:
        source, answer = await self._ask(question, deadline)
        return source, cast(Seen, answer)

    async def _ask(self, question: Standing | Page | Around, deadline: float) -> tuple[Source, Stood | Seen]:
        """Ask the index; where it cannot answer, start its load and ask Postgres."""
        ranking = question.ranking
        if ranking.keys[0] not in self.behind:
            try:
                answer = await self._lookups.ask(question)
            except StoreUnavailable:
                MISSES.labels("unavailable").inc()
            else:
                if not isinstance(answer, Miss):
                    return "index", cast("Stood | Seen", answer)
                MISSES.labels(answer.status).inc()
                if answer.status == "miss":
                    self._loader.start(ranking)
        async with asyncio.timeout_at(deadline):
            return "database", await self._fallback.ask(question)


def known_user(user_id: str) -> str:
    """Return a user id that could exist.

    Raises:
        LeaderboardError: `entry_not_found` for one that cannot.
    """
    if not is_user_id(user_id):
        raise not_found("entry", f"{clean(user_id)!r} cannot be a user")
    return user_id


def no_entry(asked: View, user_id: str) -> Exception:
    """Build the 404 of a user who is not ranked."""
    return not_found("entry", f"{clean(user_id)} has no entry in {asked.board.leaderboard}")


def encode_rows(rows: Sequence[Row], fragments: Sequence[bytes]) -> bytes:
    """Encode `"entries": [...]` from rows and the profiles of their users."""
    return envelopes.listed(
        envelopes.entry(row.user_id, row.place, profile) for row, profile in zip(rows, fragments, strict=True)
    )
