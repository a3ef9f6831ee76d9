"""Answers of Postgres kept in Redis while the index loads, under keys that any write makes obsolete.

A key names the version the loading copy had *before* Postgres was asked; every apply makes a new
version before its write is answered. So nothing is looked for or deleted: old keys die by TTL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from prometheus_client import Counter

from rank_service.envelopes import digest
from rank_service.index import Asker
from rank_service.questions import (
    Answer,
    Around,
    Counted,
    Page,
    Places,
    Question,
    Seen,
    Spread,
    Stood,
    Supposed,
    WhatIf,
)
from shared.coalesce import Coalescer
from shared.errors import StoreUnavailable
from shared.index import RankingIndex

TTL_MS = 10_000
"""How long an answer is kept: a load that takes longer asks again."""

BATCH = 256
"""Answers looked for in one round trip."""

FOUND = Counter("leaderboard_rank_kept_answers_total", "Fallback answers found kept.")

_DECODERS: dict[type, msgspec.msgpack.Decoder[Any]] = {
    Places: msgspec.msgpack.Decoder(Stood),
    Page: msgspec.msgpack.Decoder(Seen),
    Around: msgspec.msgpack.Decoder(Seen),
    WhatIf: msgspec.msgpack.Decoder(Supposed),
    Spread: msgspec.msgpack.Decoder(Counted),
}


class Shelf:
    """Keeps and finds answers."""

    def __init__(self, index: RankingIndex, lookups: Asker, *, queue: int) -> None:
        self._index = index
        self._lookups = lookups
        self._coalescer: Coalescer[str, bytes | None] = Coalescer(
            self._flush, name="ask for kept answers", batch=BATCH, queue=queue
        )

    async def find(self, question: Question, version: str) -> Answer | None:
        """Return the answer kept at this version, None when there is none."""
        try:
            data = await self._coalescer.get(_key(question, version))
        except StoreUnavailable:
            return None
        if data is None:
            return None
        try:
            answer: Answer = _DECODERS[type(question)].decode(data)
        except ValueError:  # kept by a version of ours that keeps them otherwise, or spoilt (no UTF-8)
            return None
        FOUND.inc()
        return answer

    def keep(self, question: Question, version: str, answer: Answer) -> None:
        """Keep an answer of a query that began after the version was read."""
        data = msgspec.msgpack.encode(answer)
        self._lookups.send_along(("SET", _key(question, version), data, "PX", TTL_MS))

    async def close(self) -> None:
        """Wait for the round trip under way."""
        await self._coalescer.close()

    async def _flush(self, keys: Sequence[str]) -> list[bytes | None]:
        replies = await self._index.send([], [("GET", key) for key in keys])
        return [reply if isinstance(reply, bytes) else None for reply in replies]


def _key(question: Question, version: str) -> str:
    asked = digest(type(question).__name__.encode(), msgspec.msgpack.encode(question[2:])).decode()
    # In the slot of the ranking: on the node that had the version.
    return f"{question.ranking.keys[0]}:{version}:{asked}"
