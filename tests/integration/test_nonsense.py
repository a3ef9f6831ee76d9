"""Replies of Redis that no server of ours would give: Postgres is asked instead, on a fresh connection."""

from __future__ import annotations

from typing import Any

import pytest

from shared.postgres import Pool
from shared.profiles import Kept, read_kept
from shared.wire import Wire
from tests.rank import put_board, put_entries, rank_service

REPLIES: list[Any] = [b"OK", 7, [], None, True, [b"a", 1], [b"\xff"], [[b"a"]], 1.5, {}]


@pytest.mark.parametrize("nonsense", REPLIES, ids=repr)
async def test_a_reply_that_makes_no_sense_is_as_good_as_no_redis(
    nonsense: Any, pool: Pool, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_entries(pool, await put_board(pool), [("ada", 5), ("bob", 3)])
    sends = Wire.send

    async def spoilt(self: Wire, commands: Any, database: str = "") -> list[Any]:
        replies = await sends(self, commands, database)
        return [nonsense for _ in replies]

    async with rank_service(database_url, redis_url) as rank:
        await rank.ready()
        monkeypatch.setattr(Wire, "send", spoilt)
        entry = await rank.get("/leaderboards/global/users/bob")
        assert (entry["entry"]["rank"], entry["source"]) == (2, "database")
        page = await rank.get("/leaderboards/global/top")
        assert [each["user_id"] for each in page["entries"]] == ["ada", "bob"]
        monkeypatch.undo()
        await rank.ready()


def test_names_that_are_no_names_are_not_kept() -> None:
    nothing = Kept(None, [None])
    for reply in (b"OK", [], [b"1"], [b"1", 5], [b"1", None, None]):
        assert read_kept(reply, 1) == nothing
