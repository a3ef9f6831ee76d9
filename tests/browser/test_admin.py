"""The admin page: nothing without a key, and what cannot be undone is asked twice."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.boards import Board
from tests.browser.conftest import Visit, use_key
from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_without_an_admin_key_there_is_nothing(visit: Visit, stack: Stack) -> None:
    page = await visit("/admin")
    await expect(page.locator("#admin")).to_contain_text("needs an admin key")
    await use_key(page, stack.values["READ_KEY"])
    await expect(page.get_by_role("alert")).to_contain_text("scope admin")


async def test_an_erased_player_is_confirmed_by_name(visit: Visit, board: Board, stack: Stack) -> None:
    await board.play(ada=50, bob=40)
    page = await visit("/admin")
    await use_key(page, stack.values["ADMIN_KEY"])
    await page.get_by_role("tab", name="Users").click()
    await page.get_by_label("Game").select_option("demo")
    await page.get_by_label("Name or id, its beginning").fill(board.user("ada"))
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("button", name="Erase").click()
    await page.get_by_role("dialog").get_by_role("button", name="Erase player").click()
    await page.get_by_role("dialog").get_by_role("textbox").fill(board.user("ada"))
    await page.get_by_role("dialog").get_by_role("button", name="Erase player").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    top = (await board.client.get(f"{board.path}/top")).json()
    assert [entry["user_id"] for entry in top["entries"]] == [board.user("bob")]
