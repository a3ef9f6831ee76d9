"""Nothing stands in the way of people who cannot see well, or point, or bear bright light (axe-core)."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.browser.boards import Board
from tests.browser.conftest import Visit, use_key
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
async def test_axe_finds_nothing_at_a_player(visit: Visit, board: Board, theme: str) -> None:
    await board.play(ada=50)
    page = await visit(f"/?game=demo&player={board.user('ada')}", color_scheme=theme)
    await expect(page.get_by_text("counts")).to_be_visible()
    assert await found_by_axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/docs", "/?game=secret"])
async def test_axe_finds_nothing_elsewhere(visit: Visit, theme: str, path: str) -> None:
    page = await visit(path, color_scheme=theme)
    await expect(page.locator("h1")).to_be_visible()
    assert await found_by_axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_for_an_admin(visit: Visit, stack: Stack, theme: str) -> None:
    page = await visit("/admin", color_scheme=theme)
    await use_key(page, stack.values["ADMIN_KEY"])
    for name in await page.get_by_role("tab").all_inner_texts():
        await page.get_by_role("tab", name=name).click()
        await expect(page.locator("[role=tabpanel] section").first).to_be_visible()
        assert await found_by_axe(page) == [], name
