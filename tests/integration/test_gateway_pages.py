"""The web page: standings as plain HTML, files browsers keep, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.doors import Answer, Gateway, Service, running_gateway

HOSTILE = "<img src=x onerror=alert(1)>"
ENTRIES: list[dict[str, Any]] = [
    {"rank": 1, "user_id": "ada", "display_name": HOSTILE, "country": "GB", "score": 1234, "ties": 2},
    {"rank": 1, "user_id": "bob", "display_name": None, "country": None, "score": 1234, "ties": 2},
]


@pytest.fixture(scope="module")
def rank() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, rank: Service) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("pages")
    with running_gateway(folder, RANK_URL=rank.url, PUBLIC_GAMES="demo,chess") as gateway:
        yield gateway


def answering(status: int = 200, entries: list[dict[str, Any]] | None = None, total: int = 40) -> Answer:
    body = orjson.dumps({"total": total, "as_of": "2026-11-26T10:11:12.000Z", "entries": entries or []})

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % (status, len(body)))
        await asyncio.sleep(0)  # the body comes by itself: the page waits for all of it
        writer.write(body)

    return answer


def page(gateway: Gateway, path: str = "/") -> str:
    reply = gateway.call("GET", path, key=None)
    assert reply.status == 200
    return reply.body.decode()


def test_the_page_holds_the_top_before_any_script_runs(gateway: Gateway, rank: Service) -> None:
    rank.answer = answering(entries=ENTRIES)
    text = page(gateway)
    assert rank.seen[-1].startswith(
        b"GET /v1/games/demo/leaderboards/global/top?limit=25&offset=0&season=current "
    )
    assert "1,234" in text
    assert text.count("2 tied") == 2
    assert 'content="demo,chess"' in text


def test_a_hostile_name_is_text(gateway: Gateway, rank: Service) -> None:
    rank.answer = answering(entries=ENTRIES)
    text = page(gateway)
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


def test_any_board_season_and_page_can_be_asked_for(gateway: Gateway, rank: Service) -> None:
    rank.answer = answering(entries=ENTRIES, total=500)
    text = page(gateway, "/?game=chess&board=blitz&season=previous&offset=50")
    wanted = b"GET /v1/games/chess/leaderboards/blitz/top?limit=25&offset=50&season=previous "
    assert rank.seen[-1].startswith(wanted)
    assert "offset=25" in text
    assert "offset=52" in text


def test_those_around_a_player_can_be_asked_for(gateway: Gateway, rank: Service) -> None:
    rank.answer = answering(entries=ENTRIES)
    text = page(gateway, "/?game=chess&board=blitz&around=a@b")
    wanted = b"GET /v1/games/chess/leaderboards/blitz/users/a%40b/around?radius=12&season=current "
    assert rank.seen[-1].startswith(wanted)
    assert "1,234" in text
    assert ">Next<" not in text


@pytest.mark.parametrize(
    "query",
    [
        "board=../x",
        "offset=-1",
        "offset=x",
        "season=a%0d%0ab:c",
        "board=%22%3E",
        "&&&=",
        "offset=%C2%B2",
        "around=me",
    ],
)
def test_an_odd_address_shows_the_first_page(gateway: Gateway, rank: Service, query: str) -> None:
    rank.answer = answering(entries=ENTRIES)
    page(gateway, f"/?{query}")
    assert rank.seen[-1].startswith(
        b"GET /v1/games/demo/leaderboards/global/top?limit=25&offset=0&season=current "
    )


def test_a_game_that_is_not_public_is_not_asked_for(gateway: Gateway, rank: Service) -> None:
    before = len(rank.seen)
    assert "Which game?" in page(gateway, "/?game=secret")
    assert len(rank.seen) == before


def test_a_service_in_trouble_is_said_to_be(gateway: Gateway, rank: Service) -> None:
    rank.answer = answering(status=503)
    assert "cannot be reached" in page(gateway)


@pytest.mark.parametrize("path", ["/", "/admin", "/docs"])
def test_pages_allow_nothing_inline_and_no_other_host(gateway: Gateway, rank: Service, path: str) -> None:
    rank.answer = answering(entries=ENTRIES)
    reply = gateway.call("GET", path, key=None)
    assert reply.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self';"
    )
    text = reply.body.decode()
    assert not re.search(
        r"<style|<script(?! type=\"module\" src=)|\son\w+=\"|\sstyle=\"|(?:src|href)=\"(?!/|#)", text
    )


def test_files_are_kept_until_they_change(gateway: Gateway) -> None:
    first = gateway.call("GET", "/web/main.js", key=None)
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    again = gateway.call(
        "GET", "/web/main.js", key=None, headers=f"if-none-match: {first.headers['etag']}\r\n"
    )
    assert (again.status, again.body) == (304, b"")
