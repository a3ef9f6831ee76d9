"""Sealed seasons announced: signed, in spite of failures, under one id each, not into our own network."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import signal
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.embedded import free_ports
from deploy.processes import Program
from score_service.sealing import Sealer
from score_service.store import SQL
from score_service.upstream import Receivers
from score_service.webhooks import LEASE, Webhooks
from shared.answers import Announcement
from shared.boards import Games
from shared.errors import LeaderboardError
from shared.index import RankingIndex
from shared.messages import LeaderboardIn
from shared.names import season_id, uuid7
from shared.postgres import Pool
from shared.wire import Wire
from tests.integration.test_score_sealing import DUE, void
from tests.integration.test_score_seasons import WEEK, hour, key
from tests.receiver import Receiver, receiver
from tests.score import Score, score_service
from tests.servers import running
from tests.support import wait_until

KEY = bytes(range(24))
SECRET = f"whsec_{b64encode(KEY).decode()}"
OLDER = "an older secret, still in use"
NOW = "UPDATE announcements SET next_at = now() WHERE status = 'waiting'"

SPEAKS = {"season_grace_seconds": WEEK, "webhook_secret": (SECRET,), "webhook_private": True}

Play = Callable[..., Awaitable[None]]


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as hook:
        yield hook


@pytest.fixture
async def score(database_url: str, redis_url: str) -> AsyncIterator[Score]:
    """A score_service that has no secret, so that it announces nothing."""
    async with score_service(database_url, redis_url, season_grace_seconds=WEEK) as score:
        yield score


@pytest.fixture
async def sealer(pool: Pool, redis_url: str) -> AsyncIterator[Sealer]:
    wire = Wire(redis_url, timeout=1.0)
    index = RankingIndex(wire, idle_ms=60_000)
    index.database_identity = "tests"
    yield Sealer(pool, index)
    await wire.close()


def announcer(pool: Pool, *, private: bool = True) -> Webhooks:
    """A replica's announcer."""
    receivers = Receivers(private=private)
    return Webhooks(pool, receivers, (SECRET, OLDER), private=private, patience=timedelta(hours=72))


@pytest.fixture
def play(score: Score, sealer: Sealer, pool: Pool) -> Play:
    """Define a board of hours with a webhook, play in hours gone by, seal them."""

    async def run(url: str | None, *backs: int, **more: Any) -> None:
        await score.define(hours={"schedule": "hourly", **({"webhook": url} if url else {})})
        for back in backs:
            results = [("ada", 9), ("bob", 7), ("cat", 7)]
            await score.post(*results, played_at=hour(back).isoformat())
        if more:
            await score.post(("eve", 99), played_at=hour(backs[0]).isoformat(), **more)
        await seal(pool, sealer)

    return run


async def seal(pool: Pool, sealer: Sealer) -> None:
    await pool.execute(DUE)
    await sealer.run()
    await wait_until(
        lambda: pool.fetchval(
            "SELECT NOT EXISTS (SELECT FROM seasons WHERE sealed_at IS NULL AND closes_at < now())"
        )
    )


async def listed(pool: Pool) -> list[Announcement]:
    game = await Games(pool).get("demo")
    return (await announcer(pool).look(game, "hours")).announcements


async def again(pool: Pool) -> None:
    """Try at once what waits."""
    await pool.execute(NOW)
    await announcer(pool).run()


async def test_a_sealed_season_is_announced_and_signed(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url, 1)
    await announcer(pool).run()
    (heard,) = hook.heard
    row = await pool.fetchrow("SELECT * FROM seasons WHERE sealed_at IS NOT NULL")
    assert row is not None
    event = heard.event
    assert (event["type"], event["game"], event["leaderboard"]) == ("season.sealed", "demo", "hours")
    assert event["season"]["id"] == event["season"]["starts_at"] == season_id(key(hour(1)))
    assert event["season"]["ends_at"] == season_id(key(hour(0)))
    assert (event["total"], event["digest"], event["previous_digest"]) == (3, row["digest"], None)
    assert [tuple(place.values()) for place in event["top"]] == [(1, "ada", 9), (2, "bob", 7), (2, "cat", 7)]
    assert heard.line == "POST /hook?of=chess HTTP/1.1"
    content = f"{event['id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    digests = [hmac.digest(key, content, "sha256") for key in (KEY, OLDER.encode())]
    expected = [f"v1,{b64encode(digest).decode()}" for digest in digests]
    assert heard.headers["webhook-signature"].split() == expected
    assert heard.headers["webhook-id"] == event["id"]


def documented() -> Callable[..., bool]:
    """The receiver's check as deploy/CLIENTS.md has it."""
    text = (Path(__file__).parent.parent.parent / "deploy" / "CLIENTS.md").read_text()
    (source,) = re.findall(r"^```python\n(def is_genuine.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"hmac": hmac, "time": time, "Mapping": Mapping}
    names |= {"b64decode": b64decode, "b64encode": b64encode}
    exec(source, names)
    found: Callable[..., bool] = names["is_genuine"]
    return found


async def test_the_documented_check_tells_what_is_genuine(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url, 1)
    await announcer(pool).run()
    (heard,) = hook.heard
    is_genuine = documented()
    assert is_genuine(SECRET, heard.headers, heard.body)
    assert is_genuine(OLDER, heard.headers, heard.body)
    assert not is_genuine(SECRET, heard.headers, heard.body + b" ")
    assert not is_genuine("someone else's secret", heard.headers, heard.body)
    late = {**heard.headers, "webhook-timestamp": str(int(heard.headers["webhook-timestamp"]) - 400)}
    assert not is_genuine(SECRET, late, heard.body)


async def test_failures_are_tried_again_under_the_same_id(play: Play, pool: Pool) -> None:
    (port,) = free_ports(1)
    await play(f"http://127.0.0.1:{port}/hook?of=chess", 1)
    await announcer(pool).run()
    (refused,) = await listed(pool)
    assert (refused.status, refused.attempts, "Connect" in str(refused.error)) == ("waiting", 1, True)
    assert refused.next_at is not None
    assert refused.next_at > refused.created_at
    async with receiver(port) as hook:
        hook.answers = [
            500,
            302,
            b"not http at all\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\r\n\r\n",
        ]
        for _ in range(6):
            await again(pool)
    assert len(hook.heard) == 4
    assert {heard.headers["webhook-id"] for heard in hook.heard} == {refused.id}
    assert [each.status for each in await listed(pool)] == ["delivered"]


async def test_two_replicas_announce_every_season_once(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url, 1, 2, 3, 4, 5)
    one, two = announcer(pool), announcer(pool)
    while any(each.status == "waiting" for each in await listed(pool)):
        await asyncio.gather(one.run(), two.run())
    told = [heard.event["season"]["id"] for heard in hook.heard]
    assert sorted(told) == [season_id(key(hour(back))) for back in (5, 4, 3, 2, 1)]


async def test_seasons_are_announced_in_order_and_one_given_up_holds_up_no_other(
    play: Play, pool: Pool, hook: Receiver
) -> None:
    hook.answers = [500, 410]
    await play(hook.url, 1, 2, 3)
    for _ in range(3):
        await announcer(pool).run()
    assert len(hook.heard) == 1, "a later season overtook one that waits to be tried again"
    for _ in range(3):
        await again(pool)
    told = [heard.event["season"]["id"] for heard in hook.heard]
    assert told == [season_id(key(hour(back))) for back in (3, 3, 2, 1)]
    assert [each.status for each in await listed(pool)] == ["delivered", "delivered", "given_up"]


async def test_another_webhook_is_tried_at_once(score: Score, play: Play, pool: Pool, hook: Receiver) -> None:
    (port,) = free_ports(1)
    await play(f"http://127.0.0.1:{port}/gone", 1)
    await announcer(pool).run()
    async with score_service(score.settings.database_url, score.settings.redis_url, **SPEAKS) as other:
        await pool.execute("UPDATE announcements SET next_at = now() + interval '6 hours'")
        await other.define(hours={"schedule": "hourly", "webhook": hook.url})
        await wait_until(lambda: hook.heard)


async def test_a_replica_that_takes_one_holds_up_no_other(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url, 1)
    async with pool.acquire() as connection, connection.transaction(), asyncio.timeout(10):
        assert len(await connection.fetch(SQL["claim_announcements"], 8, LEASE)) == 1
        assert await pool.fetch(SQL["claim_announcements"], 8, LEASE) == []


async def test_what_is_being_sent_is_nobody_elses(play: Play, pool: Pool, hook: Receiver) -> None:
    hook.answers = [None]
    await play(hook.url, 1)
    sending = asyncio.create_task(announcer(pool).run())
    await wait_until(lambda: hook.heard)
    await announcer(pool).run()
    assert len(hook.heard) == 1
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await again(pool)
    assert [heard.headers["webhook-id"] for heard in hook.heard] == [(await listed(pool))[0].id] * 2


async def test_standings_sealed_anew_are_announced_and_outdated_ones_are_not(
    score: Score, play: Play, sealer: Sealer, pool: Pool, hook: Receiver
) -> None:
    cheat = str(uuid7())
    await play(hook.url, 1, session_id=cheat)
    await void(score, cheat)
    await seal(pool, sealer)
    await again(pool)
    await again(pool)
    second, first = await listed(pool)
    (heard,) = hook.heard
    assert (first.status, second.status, heard.event["id"]) == ("outdated", "delivered", second.id)
    assert (heard.event["total"], heard.event["previous_digest"]) == (3, first.digest)
    assert first.digest != second.digest


async def test_an_unsealed_season_is_waited_for(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url, 1)
    sealed = await pool.fetchrow("SELECT digest, total, sealed_at FROM seasons WHERE sealed_at IS NOT NULL")
    assert sealed is not None
    await pool.execute(
        "UPDATE seasons SET digest = NULL, total = NULL, sealed_at = NULL, closed_at = NULL,"
        " closes_at = now() + interval '1 day' WHERE sealed_at IS NOT NULL"
    )
    await announcer(pool).run()
    assert ([each.status for each in await listed(pool)], hook.heard) == (["waiting"], [])


async def test_what_had_closed_before_is_no_news(
    score: Score, sealer: Sealer, pool: Pool, hook: Receiver
) -> None:
    await score.define(hours={"schedule": "hourly"})
    await score.post(("ada", 9), played_at=hour(1).isoformat())
    await pool.execute(DUE)
    await score.define(hours={"schedule": "hourly", "webhook": hook.url})
    await sealer.run()
    await wait_until(lambda: pool.fetchval("SELECT count(sealed_at) FROM seasons"))
    assert await listed(pool) == []


@pytest.mark.parametrize(("answer", "age"), [(410, 0), (500, 73)])
async def test_who_does_not_want_to_hear_is_given_up_and_stays_listed(
    play: Play, pool: Pool, hook: Receiver, answer: int, age: int
) -> None:
    hook.answers = [answer]
    await play(hook.url, 1)
    await pool.execute("UPDATE announcements SET created_at = now() - $1 * interval '1 hour'", age)
    await announcer(pool).run()
    await announcer(pool).purge()
    (given_up,) = await listed(pool)
    assert (given_up.status, given_up.error, given_up.next_at) == ("given_up", f"answered {answer}", None)


async def test_a_private_address_is_not_reached_by_default(play: Play, pool: Pool, hook: Receiver) -> None:
    await play(hook.url.replace("http:", "https:"), 1)
    await announcer(pool, private=False).run()
    (told,) = await listed(pool)
    assert (told.status, told.error, hook.heard) == ("waiting", "leads to an address that is not public", [])


async def test_a_webhook_stays_until_it_is_taken_away(score: Score, hook: Receiver) -> None:
    async def put(**body: Any) -> Any:
        game = await score.state["games"].get("demo")
        definition = msgspec.convert(body, LeaderboardIn)
        answer, _ = await score.state["definitions"].put_leaderboard(game, "hours", definition, "key-1")
        return answer.webhook, answer.title

    await score.define()
    assert await put(webhook=hook.url) == (hook.url, None)
    assert await put(title="Hours") == (hook.url, "Hours")
    assert await put(webhook=None) == (None, None)
    game = await score.state["games"].get("demo")
    audited = (await score.state["records"].audit(game, 2**62, 10)).audit
    assert [line.action for line in audited] == ["redefine", "redefine", "define", "create_game"]


@pytest.mark.parametrize(
    "url",
    ["https://", "https://ada:pw@example.com/", "https://example.com/#x", "https://[::1/", "https://x:0/"],
)
async def test_a_url_that_cannot_be_one_is_refused(pool: Pool, url: str) -> None:
    with pytest.raises(LeaderboardError) as error:
        announcer(pool).check(url)
    assert [field.path for field in error.value.errors] == ["webhook"]
    announcer(pool).check("https://example.com:8443/a?b=c")


async def test_nothing_goes_out_unsigned(score: Score) -> None:
    score.state["webhooks"].check(None)
    with pytest.raises(LeaderboardError, match="WEBHOOK_SECRET"):
        score.state["webhooks"].check("https://example.com/")


async def test_a_process_killed_while_it_announces_is_taken_over(
    play: Play, pool: Pool, hook: Receiver, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    hook.answers = [None]
    await play(hook.url, 1)
    (port,) = free_ports(1)
    environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SCORE_PORT": str(port)}
    environ |= {"WEBHOOK_SECRET": SECRET, "WEBHOOK_PRIVATE": "true"}
    command = (sys.executable, "-m", "score_service")
    program = Program("score_service", command, tmp_path / "log", environ={**os.environ, **environ})
    with running(program) as process:
        await wait_until(lambda: hook.heard, timeout=20)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [each.status for each in await listed(pool)] == ["waiting"]
    await again(pool)
    assert [heard.headers["webhook-id"] for heard in hook.heard] == [(await listed(pool))[0].id] * 2
    assert [each.status for each in await listed(pool)] == ["delivered"]
