"""The page of one player."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.boards import Board, Past
from tests.browser.conftest import Visit
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_player_is_ranked_in_every_board(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=50, cyd=10, dee=5)
    await board.call("cyd", "Cyd Comet", "NL")
    page = await visit(f"/?game=demo&player={board.user('cyd')}")
    await expect(page.locator("#player h1")).to_have_text("Cyd Comet")
    await expect(page.get_by_role("img", name="Netherlands")).to_be_visible()
    tile = page.get_by_role("region", name=board.name)
    await expect(tile).to_contain_text("#3")
    await expect(tile).to_contain_text("top 75 % of 4 players")
    await expect(tile.get_by_role("img", name="percentile 50 %")).to_be_visible()
    await expect(page.get_by_role("region", name="global")).to_be_visible()


async def test_the_way_of_a_rank_is_drawn(visit: Visit, board: Board, past: Past) -> None:
    await board.play(ada=50, bob=40)
    await past.ranked(board.name, board.user("bob"), [9, 7, 8, 4, 3])
    await wait_until(lambda: board.risen("bob"))  # an answer does not wait for yesterday's rank
    page = await visit(f"/?game=demo&player={board.user('bob')}")
    tile = page.get_by_role("region", name=board.name)
    await expect(tile.get_by_role("img", name=re.compile("Rank over time: #9 on .*, now #2"))).to_be_visible()
    await expect(tile.locator("svg.chart .spot")).to_have_count(6)
    await expect(tile.locator(".move.up")).to_have_text("▲1")


async def test_sessions_are_listed_with_what_became_of_them(visit: Visit, board: Board) -> None:
    session = await board.play(ada=7)
    await board.client.post(f"/v1/games/demo/sessions/{session}/void", json={"reason": "a test"})
    for score in range(24):
        await board.play(ada=score)
    page = await visit(f"/?game=demo&player={board.user('ada')}")
    sessions = page.get_by_role("region", name="Sessions").locator("tbody tr")
    await expect(sessions).to_have_count(20)
    await page.get_by_role("button", name="More").click()
    await expect(sessions).to_have_count(25)
    await expect(sessions.last).to_contain_text("voided")
    await expect(sessions.first).to_contain_text("counts")


@pytest.mark.slow
async def test_a_player_page_follows_what_happens(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=40)
    page = await visit(f"/?game=demo&player={board.user('bob')}")
    await expect(page.get_by_role("region", name=board.name)).to_contain_text("#2")
    await board.play(bob=20)
    await expect(page.get_by_role("region", name=board.name)).to_contain_text("#1", timeout=20_000)


async def test_from_a_player_one_comes_to_those_around(visit: Visit, board: Board) -> None:
    await board.play(**{f"p{n:02}": 100 - n // 40 for n in range(80)})
    page = await visit(f"/?game=demo&player={board.user('p30')}")
    await page.get_by_role("link", name=board.name).click()
    await expect(page.locator("#rows tr.me")).to_contain_text("p30")
    await expect(page.locator("#rows tr")).to_have_count(25)
    await expect(page.locator("#rows .number").first).to_have_text("1")
