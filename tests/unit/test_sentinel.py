"""The URL that names Sentinels."""

from __future__ import annotations

import pytest

from shared.sentinel import find


async def test_a_url_names_sentinels_the_master_and_who_we_are() -> None:
    source = find("redis+sentinel://me:a%40b@one:1,two,[::1]:3/ours/2?sentinel_password=s", timeout=0.5)
    assert source.sentinel is not None
    found = [each.connection_pool.connection_kwargs for each in source.sentinel.sentinels]
    assert [(each["host"], each["port"]) for each in found] == [("one", 1), ("two", 26_379), ("::1", 3)]
    assert {each["password"] for each in found} == {"s"}
    options = source.pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("me", "a@b", 2)
    await source.close()


async def test_a_url_that_names_no_master_is_refused() -> None:
    with pytest.raises(ValueError, match="must name the master"):
        find("redis+sentinel://one:1", timeout=0.5)
