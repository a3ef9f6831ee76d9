"""Pages of a ranking, kept as bytes while nothing on them has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from rank_service import envelopes
from rank_service.answers import Answers
from rank_service.envelopes import Body
from rank_service.names import Profiles
from rank_service.questions import Page, Seen
from rank_service.rules import View
from shared.asgi import JSON, Reply
from shared.index import Rows
from shared.messages import Source
from shared.ranking import Figures, Row

RENDERED_PAGES = 2_000
"""Pages kept as bytes, about 10 KB each; the one least recently made goes."""


class Rendered(NamedTuple):
    """A page as bytes, and what it was made of: current while these are."""

    rows: Sequence[Row]
    head: bytes
    profile_version: bytes | None
    content: bytes
    digest: bytes


class Pages:
    """Answers pages; every answer is encoded already."""

    def __init__(self, answers: Answers, profiles: Profiles) -> None:
        self._answers = answers
        self._profiles = profiles
        self._rendered: OrderedDict[tuple[str, int, int], Rendered] = OrderedDict()
        self._last: tuple[Seen, View, Body] | None = None
        """The last answer: who asked for the same page in one round trip gets the same bytes."""

    async def top(self, asked: View, offset: int, limit: int, deadline: float) -> Body:
        """Answer a page by offset; raises what `Answers.ask` does."""
        question = Page(asked.ranking, asked.board.game_id, offset, limit)
        source, seen = await self._answers.ask(question, deadline)
        held = self.held(asked, offset, limit, source, seen)
        if held is not None:
            return held
        page = await self._render(asked, (asked.ranking.name, offset, limit), source, seen)
        return _body(asked, page, source, seen)

    def held(self, asked: View, offset: int, limit: int, source: Source, seen: Seen) -> Body | None:
        """Answer a page that is kept as bytes and current."""
        if self._last is not None and self._last[0] is seen and self._last[1] is asked:
            return self._last[2]
        page = self._rendered.get((asked.ranking.name, offset, limit))
        # The rows are the very same list for as long as the index says its page is current.
        if (
            page is None
            or page.rows is not seen.rows
            or page.profile_version != seen.profile_version
            or page.head != asked.head
        ):
            return None
        body = _body(asked, page, source, seen)
        self._last = (seen, asked, body)
        return body

    async def _render(self, asked: View, key: tuple[str, int, int], source: Source, seen: Seen) -> Rendered:
        """Encode a page; keep it where it can be told to be current."""
        users = [row.user_id for row in seen.rows]
        named = await self._profiles.of(asked.board.game_id, users, seen.profile_version)
        content = encode_rows(seen.rows, named.fragments)
        digest = envelopes.digest(asked.head, content)
        page = Rendered(seen.rows, asked.head, seen.profile_version, content, digest)
        if source == "index" and seen.profile_version is not None and named.whole:
            self._rendered[key] = page
            self._rendered.move_to_end(key)
            if len(self._rendered) > RENDERED_PAGES:
                self._rendered.popitem(last=False)
        return page


def _body(asked: View, page: Rendered, source: Source, seen: Seen) -> Body:
    total = seen.stamp.total
    etag = b'W/"%b-%d-%b"' % (page.digest, total, source.encode())
    return Body(envelopes.envelope(asked.head, total, source, seen.as_of, page.content), etag)


def page_reply(page: Body, known: bytes | None) -> Reply:
    """Answer a page, or 304 when the caller has it: `known` is an `If-None-Match`."""
    etag = (b"etag", page.etag)
    if known is not None and matches(known, page.etag):
        return Reply(304, b"", [etag])
    return Reply(200, page.content, [JSON, etag])


def matches(known: bytes, etag: bytes) -> bool:
    """Say whether an `If-None-Match` header names `etag` (RFC 9110, weak comparison)."""
    bare = etag.removeprefix(b"W/")
    return known.strip() == b"*" or any(
        candidate.strip().removeprefix(b"W/") == bare for candidate in known.split(b",")
    )


def encode_rows(rows: Sequence[Row], fragments: Sequence[bytes]) -> bytes:
    """Encode `"entries": [...]` from rows and the profiles of their users."""
    return encode_figures(figures_of(rows), fragments)


def encode_figures(lines: Sequence[Figures], fragments: Sequence[bytes]) -> bytes:
    """Encode `"entries": [...]` from figures and the profiles of their users."""
    return envelopes.listed(
        [
            envelopes.ENTRY % (rank, user_id, profile, score, ties)
            for (rank, user_id, score, ties, _), profile in zip(lines, fragments, strict=True)
        ]
    )


def figures_of(rows: Sequence[Row]) -> Sequence[Figures]:
    """Return rows as figures, which those of the index are already."""
    if isinstance(rows, Rows):
        return rows.figures
    return [(place.rank, user_id.encode(), place.score, place.ties, place.better) for user_id, place in rows]
