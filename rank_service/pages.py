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
from shared.messages import Source
from shared.ranking import Row

RENDERED_PAGES = 2_000
"""Pages kept as bytes, about 10 KB each; the one least recently made goes."""


class Rendered(NamedTuple):
    """A page as bytes, and what it was made of: current while these are."""

    rows: list[Row]
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

    async def top(self, asked: View, offset: int, limit: int, deadline: float) -> Body:
        """Answer a page by offset; raises what `Answers.ask` does."""
        question = Page(asked.ranking, asked.board.game_id, offset, limit)
        source, seen = await self._answers.ask(question, deadline)
        key = (asked.ranking.name, offset, limit)
        page = self._rendered.get(key)
        # The rows are the very same list for as long as the index says its page is current.
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


def encode_rows(rows: Sequence[Row], fragments: Sequence[bytes]) -> bytes:
    """Encode `"entries": [...]` from rows and the profiles of their users."""
    return envelopes.listed(
        envelopes.ENTRY % (rank, user_id.encode(), profile, score, ties)
        for (user_id, (rank, ties, score, _)), profile in zip(rows, fragments, strict=True)
    )
