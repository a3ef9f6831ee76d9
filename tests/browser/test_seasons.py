"""Leaderboards with a schedule: the time left, the seasons there were, and a new one as it begins."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from tests.browser.boards import Board, Past
from tests.browser.conftest import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")
NEW_SEASON = 75_000
"""Milliseconds a season of one minute may take to end and be noticed."""


async def test_a_season_is_counted_down(visit: Visit, board: Board) -> None:
    await board.define(schedule="daily")
    await board.play(ada=5)
    page = await visit(board.address)
    left = page.locator("#left")
    await expect(left).to_contain_text("Season ends in")
    digits = left.get_by_role("timer")
    await expect(digits).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    shown = await digits.inner_text()
    await expect(digits).not_to_have_text(shown)
    assert await digits.inner_text() < shown or shown == "00:00:00"


async def test_a_board_without_seasons_counts_nothing_down(visit: Visit, board: Board) -> None:
    await board.play(ada=5)
    page = await visit(board.address)
    await expect(page.locator("#as-of")).to_be_visible()
    await expect(page.locator("#left")).to_be_hidden()
    await expect(page.locator("#season")).to_be_hidden()


async def test_a_past_season_can_be_chosen(visit: Visit, board: Board, past: Past) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=30)
    await board.play(earlier, ada=50, bob=40)
    await past.recorded_as_played(board.name)
    await board.drop()
    await board.define(schedule="hourly")
    await board.play(bob=1)
    page = await visit(board.address)
    await expect(page.locator("#rows tr")).to_have_count(1)
    await page.locator("#season").select_option(index=1)
    await expect(page.locator("#rows tr")).to_have_count(2)
    await expect(page.locator("#rows tr").first).to_contain_text("ada")
    await expect(page.locator("#light")).to_have_text("Final")
    await expect(page.locator("#left")).to_contain_text("Season ended")
    await page.go_back()
    await expect(page.locator("#rows tr")).to_have_count(1)


@pytest.mark.slow
async def test_a_new_season_begins_while_one_looks_on(visit: Visit, board: Board) -> None:
    await board.define(schedule="* * * * *")
    page = await visit(board.address)
    await board.play(ada=5)
    await expect(page.locator("#rows tr")).to_have_count(1)
    await expect(page.get_by_text("Nobody is here yet")).to_be_visible(timeout=NEW_SEASON)
    await expect(page.locator("#rows tr")).to_have_count(0)
    await board.play(bob=5)
    await expect(page.locator("#rows tr")).to_contain_text("bob")
    await expect(page.locator("#season")).to_be_visible()
