"""What is wrong with a deployment, and what to do about it: `leaderboard doctor`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import psycopg
from redis.exceptions import RedisError

from deploy.api import Away, Leaderboard, Refused
from deploy.reference import PROCESSES
from shared.cluster import open_line
from shared.errors import StoreUnavailable
from shared.sentinel import client
from shared.settings import SettingsError, load

Verdict = Literal["well", "look", "wrong", "unknown"]

MAX_SKEW = 1.0
"""Seconds two clocks may differ before seasons are cut at visibly other moments."""

MAX_LAG = 10.0
OLDEST_POSTGRES = 150_000
NEEDED = {"score_service", "rank_service"}

LOOK = """
SELECT current_setting('server_version_num')::int, clock_timestamp(), current_setting('fsync'),
       current_setting('synchronous_commit'), current_setting('max_connections')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""
REVISION = "SELECT version_num FROM alembic_version"


class Finding(NamedTuple):
    """One thing looked at; `advice` says what to do where it is not well."""

    what: str
    verdict: Verdict
    seen: str
    advice: str = ""


class Places(NamedTuple):
    """Where the parts of a deployment are; None is not looked at."""

    gateway: str | None
    key: str
    database_url: str | None
    redis_url: str | None


async def examine(places: Places, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Finding]:
    """Look at everything, one after the other."""
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    yield Finding("python", "wrong" if old else "well", version, "Python 3.11 or newer" if old else "")
    for finding in settings(environ):
        yield finding
    async for finding in _postgres(places.database_url):
        yield finding
    async for finding in _redis(places.redis_url):
        yield finding
    async for finding in _services(places):
        yield finding


def settings(environ: Mapping[str, str]) -> list[Finding]:
    """Check the settings in an environment, of each process that it is meant for."""
    found = []
    for process, cls in PROCESSES.items():
        try:
            load(cls, environ)
        except SettingsError as error:
            # What is required and not set at all only says that this process runs elsewhere.
            faults = [fault for fault in error.faults if " is required: " not in fault]
            verdict: Verdict = "wrong" if faults else "unknown"
            seen = "; ".join(faults) or "its required settings are not set here"
            found.append(Finding(f"settings of {process}", verdict, seen, _SETTINGS if faults else ""))
        else:
            found.append(Finding(f"settings of {process}", "well", "complete"))
    return found


_SETTINGS = "deploy/SETTINGS.md lists what is allowed"


def clock(what: str, theirs: datetime) -> Finding:
    """Compare a clock with ours."""
    skew = abs((theirs - datetime.now(UTC)).total_seconds())
    if skew <= MAX_SKEW:
        return Finding(f"clock of {what}", "well", f"{skew:.2f} s from ours")
    return Finding(
        f"clock of {what}", "wrong", f"{skew:.1f} s from ours", "run NTP (chrony) on both machines"
    )


async def _postgres(url: str | None) -> AsyncIterator[Finding]:
    if url is None:
        yield Finding("postgres", "unknown", "not looked at", "--database-url or DATABASE_URL says where")
        return
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=5) as connection:
            row = await (await connection.execute(LOOK)).fetchone()
            assert row is not None
            known = await connection.execute("SELECT to_regclass('alembic_version')")
            made = (await known.fetchone() or (None,))[0] is not None
            at = (await (await connection.execute(REVISION)).fetchone() or (None,))[0] if made else None
    except psycopg.Error as error:
        yield Finding(
            "postgres", "wrong", str(error).strip(), "is it running, and the address and password right?"
        )
        return
    version, now, fsync, commit, most, used = row
    old = version < OLDEST_POSTGRES
    yield Finding(
        "postgres", "wrong" if old else "well", f"version {version // 10_000}", "15 or newer" if old else ""
    )
    yield clock("postgres", now)
    safe = fsync == "on" and commit != "off"
    advice = "" if safe else "set both on: what was answered may be lost with the machine"
    yield Finding(
        "durability", "well" if safe else "wrong", f"fsync {fsync}, synchronous_commit {commit}", advice
    )
    full = used > 0.8 * most
    advice = "raise max_connections, or lower the services' pools" if full else ""
    yield Finding("connections", "look" if full else "well", f"{used} of {most} used", advice)
    yield _schema(at)


def _schema(at: str | None) -> Finding:
    from alembic.script import ScriptDirectory

    from score_service.migrations import FOLDER

    newest = ScriptDirectory(str(FOLDER)).get_current_head()
    if at == newest:
        return Finding("schema", "well", f"at {at}, the newest")
    seen = f"at {at or 'nothing'}, this version needs {newest}"
    return Finding("schema", "wrong", seen, "run `leaderboard migrate` (or install the version that made it)")


async def _redis(url: str | None) -> AsyncIterator[Finding]:
    if url is None:
        yield Finding("redis", "unknown", "not looked at", "--redis-url or REDIS_URL says where")
        return
    line = open_line(url, timeout=5)
    try:
        urls = await line.urls()
    except StoreUnavailable as error:
        yield Finding("redis", "wrong", str(error), "is it running, and the address and password right?")
        return
    finally:
        await line.close()
    for each in urls:
        async for finding in _server(each):
            yield finding


async def _server(url: str) -> AsyncIterator[Finding]:
    try:
        async with asyncio.timeout(5), client(url, timeout=5) as redis:
            info: dict[str, Any] = await redis.info()
            seconds, micros = await redis.time()
    except (RedisError, OSError, TimeoutError) as error:
        yield Finding("redis", "wrong", str(error), "is it running, and the address and password right?")
        return
    name = (
        f"valkey {info['valkey_version']}" if "valkey_version" in info else f"redis {info['redis_version']}"
    )
    yield Finding("redis", "well", f"{name}, {info['used_memory_human']} used")
    yield clock("redis", datetime.fromtimestamp(seconds + micros / 1e6, UTC))
    policy = info.get("maxmemory_policy", "noeviction")
    advice = "" if policy == "noeviction" else "set noeviction: an index that lost members is not an index"
    yield Finding("eviction", "well" if policy == "noeviction" else "wrong", policy, advice)


async def _services(places: Places) -> AsyncIterator[Finding]:
    if places.gateway is None:
        yield Finding("gateway", "unknown", "not looked at", "--url or GATEWAY_URL says where")
        return
    try:
        async with Leaderboard(places.gateway, places.key, attempts=2) as api:
            await api.call("GET", "/healthz")
            yield Finding("gateway", "well", f"answers at {places.gateway}")
            status = await api.call("GET", "/v1/status")
    except Away as error:
        yield Finding("services", "wrong", str(error), "look at the log of what does not answer: ServiceDown")
        return
    except Refused as error:
        yield Finding("services", "unknown", str(error), "give an admin key: --key or LEADERBOARD_KEY")
        return
    alive = {each["service"] for each in status["services"]}
    gone = sorted(NEEDED - alive)
    seen = f"{len(status['services'])} processes alive" + (f"; no {', '.join(gone)}" if gone else "")
    yield Finding(
        "services", "wrong" if gone else "well", seen, "start it: RUNBOOK.md, NoService" if gone else ""
    )
    lag = (status["outbox"] or {}).get("age_seconds", 0.0)
    late = lag > MAX_LAG
    advice = "RUNBOOK.md, OutboxOld" if late else ""
    yield Finding("lag of the index", "wrong" if late else "well", f"{lag:.1f} s", advice)
    yield clock("score_service", datetime.fromisoformat(status["as_of"]))
