"""Small things many tests need."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

NO_TLS = False
"""For httpx's `verify`: our servers speak none, and reading all certificates takes each client 25 ms."""


async def emptied(url: str) -> str:
    """Empty a Valkey (scripts too), so that what another test's game left is not taken for this one's."""
    async with Redis.from_url(url) as client:
        await client.flushdb()
        await client.script_flush()
    return url


async def wait_until(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Return the value of a condition (sync or async) once it is true; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"still not true after {timeout:g} s: {condition}")
        await asyncio.sleep(0.01)
