"""Nothing stands in the way of people who cannot see well, or point, or bear bright light (axe-core)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.boards import Board, Past
from tests.browser.conftest import Visit
from tests.stack import Stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


async def found_by_axe(page: Page) -> list[str]:
    results = await Axe().run(page)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in results.response["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_axe_finds_nothing_in_the_standings(visit: Visit, board: Board, theme: str, width: int) -> None:
    await board.play(ada=50, bob=50, cyd=10, dee=5)
    page = await visit(board.address, width=width, color_scheme=theme)
    await page.evaluate("user => localStorage.setItem('me:demo', user)", board.user("cyd"))
    await page.reload()
    await expect(page.locator("#mine")).to_be_visible()
    assert await found_by_axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_at_a_player(visit: Visit, board: Board, past: Past, theme: str) -> None:
    await board.play(ada=50)
    await past.ranked(board.name, board.user("ada"), [9, 4, 3])
    page = await visit(f"/?game=demo&player={board.user('ada')}", color_scheme=theme)
    await expect(page.get_by_text("counts")).to_be_visible()
    await expect(page.locator("svg.chart")).to_be_visible()
    await page.get_by_text("As curl").click()
    assert await found_by_axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_whatever_happens(visit: Visit, board: Board, past: Past, theme: str) -> None:
    await board.play(datetime.now(UTC) - timedelta(hours=30), ada=50, bob=40)
    await past.recorded_as_played(board.name)
    await board.drop()
    await board.define(schedule="hourly")
    page = await visit(board.address, color_scheme=theme)
    await expect(page.locator("#state")).to_contain_text("Nobody is here yet")
    await expect(page.locator("#left")).to_be_visible()
    assert await found_by_axe(page) == []
    await page.locator("#season").select_option(index=1)
    await expect(page.locator("#light")).to_have_text("Final")
    assert await found_by_axe(page) == []
    await page.locator("#search").fill(board.user("ada"))
    await expect(page.locator("#found a")).to_be_visible()
    await page.locator("#game").select_option(label="Another game…")
    assert await found_by_axe(page) == []
    await page.get_by_role("button", name="Cancel").click()
    await page.goto(f"{board.address}-not-here")
    await expect(page.locator("#state")).to_contain_text("Nothing to show")
    assert await found_by_axe(page) == []
    await page.goto(board.address)
    await expect(page.locator("#light")).to_have_text("Live")
    await page.context.set_offline(True)
    await expect(page.locator("#light")).to_have_text("Offline")
    assert await found_by_axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/docs", "/?game=secret"])
async def test_axe_finds_nothing_elsewhere(visit: Visit, theme: str, path: str) -> None:
    page = await visit(path, color_scheme=theme)
    await expect(page.locator("h1")).to_be_visible()
    assert await found_by_axe(page) == []


async def test_axe_finds_nothing_in_an_open_call(visit: Visit) -> None:
    page = await visit("/docs#type-LeaderboardIn", width=390)
    await expect(page.locator("#type-LeaderboardIn pre")).to_be_visible()
    await page.locator("details.call summary").nth(1).click()
    assert await found_by_axe(page) == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
async def test_axe_finds_nothing_for_an_admin(
    visit: Visit, board: Board, stack: Stack, theme: str, width: int
) -> None:
    await board.define(schedule="hourly")
    await board.play(ada=50, bob=40)
    page = await visit("/admin", color_scheme=theme, width=width)
    assert await found_by_axe(page) == []
    await page.get_by_role("button", name="Use a key").click()
    assert await found_by_axe(page) == []
    await page.locator("#key-input").fill(stack.values["ADMIN_KEY"])
    await page.keyboard.press("Enter")
    for name in await page.get_by_role("tab").all_inner_texts():
        await page.get_by_role("tab", name=name).click()
        if name != "Health":
            await page.locator("#game").select_option("demo")
        if name == "Users":
            await page.get_by_role("searchbox").fill(board.user("ada"))
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Ban", exact=True).click()
            assert await found_by_axe(page) == []
            await page.get_by_role("button", name="Cancel").click()
        if name == "Leaderboards":
            await page.get_by_role("row", name=board.name).get_by_role("button", name="Edit").click()
            await expect(page.get_by_role("region", name=f"Edit {board.name}")).to_be_visible()
            await page.get_by_role("button", name="Preview").click()
            await expect(page.locator(".sides")).to_be_visible()
        await expect(page.get_by_role("tabpanel", name=name).locator("section").first).to_be_visible()
        assert await found_by_axe(page) == [], name
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
