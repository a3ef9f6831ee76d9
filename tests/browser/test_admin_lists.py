"""Lists of the admin page that are longer than a page of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser.boards import Past
from tests.browser.conftest import Visit, use_key
from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")
MANY = 55


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def game(stack: Stack) -> AsyncIterator[str]:
    """A game of its own with 55 sessions, hours (55 past seasons) and bans, and 101 players."""
    name = f"g{token_hex(6)}"
    path = f"/v1/games/{name}"
    hour = datetime.now(UTC).replace(minute=30) - timedelta(hours=2)
    sessions = [
        {
            "mode": "x",
            "played_at": (hour - timedelta(hours=n)).isoformat(),
            "results": [{"user_id": "ada", "score": n}],
        }
        for n in range(MANY)
    ]
    async with stack.client() as client:
        await client.put(path, json={})
        crowd = [{"user_id": f"p{n:03}", "score": 1} for n in range(101)]
        await client.post(f"{path}/sessions", json={"played_at": "2020-01-01T00:00:00Z", "results": crowd})
        assert (await client.post(f"{path}/sessions/batch", json={"sessions": sessions})).status_code == 200
        await Past(stack.values["DATABASE_URL"], name).recorded_as_played("x")
        body = {"schedule": "hourly", "modes": ["x"]}
        assert (await client.put(f"{path}/leaderboards/hourly", json=body)).status_code == 201
        for n in range(MANY):
            await client.post(f"{path}/users/p{n:03}/ban")
        yield name


@pytest.mark.parametrize(
    ("part", "pages"),
    [("Sessions", (50, 56)), ("Seasons", (20, 40, 56)), ("Audit", (50, 57))],
)
async def test_a_list_goes_on(
    visit: Visit, stack: Stack, game: str, part: str, pages: tuple[int, ...]
) -> None:
    page = await visit(f"/admin#{part.lower()}")
    await use_key(page, stack.values["ADMIN_KEY"])
    await page.locator("#game").select_option(game)
    rows = page.get_by_role("tabpanel", name=part).locator("tbody tr")
    more = page.get_by_role("button", name="More")
    for count in pages[:-1]:
        await expect(rows).to_have_count(count)
        await more.click()
    await expect(rows).to_have_count(pages[-1])
    await expect(more).to_be_hidden()


async def test_who_searches_too_widely_is_told(visit: Visit, stack: Stack, game: str) -> None:
    page = await visit("/admin#users")
    await use_key(page, stack.values["ADMIN_KEY"])
    await page.locator("#game").select_option(game)
    await page.get_by_label("Name or id, its beginning").fill("p")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("The first 100.")).to_be_visible()
