"""The admin page: nothing without a key, and what cannot be undone is asked twice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

import asyncpg
import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from tests.browser.boards import Board
from tests.browser.conftest import Visit, use_key
from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

ON_ITS_WAY = """
INSERT INTO entries (leaderboard_id, generation, season, user_id, score, sort_key, reached_at)
SELECT leaderboard_id, last_generation + 1, 0, $2, 0, 0, 0 FROM leaderboards WHERE leaderboard = $1"""

PARTS = ["Health", "Leaderboards", "Users", "Sessions", "Seasons", "Audit"]


@pytest_asyncio.fixture(loop_scope="module")
async def admin(visit: Visit, stack: Stack) -> Page:
    page = await visit("/admin")
    await use_key(page, stack.values["ADMIN_KEY"])
    await expect(page.get_by_role("tab").first).to_be_visible()
    return page


async def to(page: Page, part: str, game: str = "demo") -> None:
    """Go to a part of the page, and to a game."""
    await page.get_by_role("tab", name=part).click()
    await expect(page.get_by_role("tabpanel", name=part).locator("section").first).to_be_visible()
    if await page.locator("#game").input_value() != game:
        await page.locator("#game").select_option(game)


async def found(page: Page, user: str) -> Locator:
    """Search for a player; return the row."""
    await page.get_by_label("Name or id, its beginning").fill(user)
    await page.get_by_role("button", name="Search").click()
    row = page.get_by_role("row", name=user)
    await expect(row).to_be_visible()
    return row


async def ranked(board: Board) -> list[str]:
    top = (await board.client.get(f"{board.path}/top")).json()
    return [entry["user_id"].split("-")[0] for entry in top["entries"]]


async def test_without_an_admin_key_there_is_nothing(visit: Visit, stack: Stack) -> None:
    page = await visit("/admin")
    await expect(page.locator("#admin")).to_contain_text("needs an admin key")
    await use_key(page, stack.values["READ_KEY"])
    await expect(page.get_by_role("alert")).to_contain_text("scope admin")


async def test_health_is_seen_at_a_glance(admin: Page) -> None:
    for name in ("Gateway", "score_service", "rank_service", "Postgres", "Redis", "Outbox"):
        tile = admin.get_by_role("region", name=name)
        await expect(tile).to_contain_text("well")
        await expect(
            tile.get_by_role("img", name=re.compile(f"{name} over the last [2-9] s"))
        ).to_be_visible()
    await expect(admin.get_by_role("row", name="rank_service")).to_be_visible()


async def test_parts_are_reached_by_arrow_keys(admin: Page) -> None:
    await admin.get_by_role("tab", name="Health").focus()
    for name in [*PARTS[1:], PARTS[0]]:
        await admin.keyboard.press("ArrowRight")
        await expect(admin.get_by_role("tab", name=name)).to_be_focused()
    await admin.keyboard.press("ArrowLeft")
    await admin.keyboard.press("Enter")
    await expect(admin.get_by_role("tab", name="Audit", selected=True)).to_be_focused()


async def test_every_part_says_how_to_ask_for_it(admin: Page, board: Board) -> None:
    await board.define(schedule="daily")
    await board.play(ada=5)
    for part in PARTS[1:]:
        await to(admin, part)
        if part == "Users":
            await found(admin, board.user("ada"))
        await admin.get_by_text("As curl").last.click()
        await expect(admin.locator(".curl pre").last).to_contain_text(
            'curl -H "Authorization: Bearer $KEY" \'http'
        )


async def test_a_banned_player_is_gone_until_the_ban_is_lifted(admin: Page, board: Board) -> None:
    await board.play(ada=50, bob=40)
    await to(admin, "Users")
    row = await found(admin, board.user("ada"))
    await row.get_by_role("button", name="Ban", exact=True).click()
    await admin.get_by_role("dialog").get_by_label("Reason").fill("plays with two mice")
    await admin.get_by_role("dialog").get_by_role("button", name="Ban player").click()
    await expect(row).to_contain_text("banned")
    assert await ranked(board) == ["bob"]
    await row.get_by_role("button", name="Lift ban").click()
    await expect(row).to_contain_text("not banned")
    assert await ranked(board) == ["ada", "bob"]
    await to(admin, "Audit")
    await expect(admin.get_by_role("row", name="plays with two mice")).to_contain_text(board.user("ada"))


async def test_an_erased_player_is_confirmed_by_name(admin: Page, board: Board) -> None:
    await board.play(ada=50, bob=40)
    await to(admin, "Users")
    await (await found(admin, board.user("ada"))).get_by_role("button", name="Erase").click()
    dialog = admin.get_by_role("dialog")
    await dialog.get_by_role("button", name="Erase player").click()
    assert await ranked(board) == ["ada", "bob"]
    await dialog.get_by_role("textbox").fill("bob")
    await dialog.get_by_role("button", name="Erase player").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("not the same")
    await dialog.get_by_role("textbox").fill(board.user("ada"))
    await dialog.get_by_role("button", name="Erase player").click()
    await expect(dialog).to_have_count(0)
    assert await ranked(board) == ["bob"]


async def test_a_session_is_found_and_voided(admin: Page, board: Board) -> None:
    session = await board.play(ada=50)
    await board.play(bob=40)
    await to(admin, "Sessions")
    await admin.get_by_label("Session id").fill(session)
    await admin.get_by_role("button", name="Find").click()
    row = admin.get_by_role("row", name=session)
    await row.get_by_role("button", name="Results").click()
    await expect(admin.get_by_role("dialog").get_by_role("row", name=board.user("ada"))).to_contain_text("50")
    await admin.get_by_role("button", name="Close").click()
    await row.get_by_role("button", name="Void").click()
    await admin.get_by_role("button", name="Void session").click()  # no reason, no void
    await admin.get_by_role("dialog").get_by_label("Reason").fill("a bug in the last level")
    await admin.get_by_role("button", name="Void session").click()
    await expect(row).to_contain_text("voided")
    assert await ranked(board) == ["bob"]


async def test_a_game_and_its_leaderboard_are_made_changed_and_dropped(admin: Page, board: Board) -> None:
    game = f"g{token_hex(6)}"
    await to(admin, "Leaderboards")
    new = admin.get_by_role("region", name="New game")
    await new.get_by_label("Id").fill(game)
    await new.get_by_role("button", name="Create game").click()
    await expect(admin.locator("#game")).to_have_value(game)
    await expect(admin.get_by_role("row", name="global")).to_contain_text("sum, desc")

    await admin.get_by_role("button", name="New leaderboard").click()
    form = admin.get_by_role("region", name="New leaderboard")
    await form.get_by_label("Id").fill("laps")
    await form.get_by_label("Operator").select_option("best")
    await form.get_by_label("Order").select_option("asc")
    await form.get_by_role("button", name="Save").click()
    row = admin.get_by_role("row", name="laps")
    await expect(row).to_contain_text("best, asc")

    await row.get_by_role("button", name="Edit").click()
    await admin.get_by_role("region", name="Edit laps").get_by_label("Title").fill("Fastest laps")
    await admin.get_by_role("region", name="Edit laps").get_by_role("button", name="Save").click()
    await expect(row).to_contain_text("Fastest laps")
    made = (await board.client.get(f"/v1/games/{game}/leaderboards/laps")).json()
    assert (made["title"], made["operator"], made["order"]) == ("Fastest laps", "best", "asc")

    await row.get_by_role("button", name="Drop").click()
    await admin.get_by_role("dialog").get_by_role("textbox").fill("laps")
    await admin.get_by_role("button", name="Drop leaderboard").click()
    await expect(row).to_have_count(0)
    await admin.get_by_role("button", name="Archive", exact=True).click()
    await admin.get_by_role("dialog").get_by_role("textbox").fill(game)
    await admin.get_by_role("button", name="Archive game").click()
    await expect(admin.locator("#game")).not_to_have_value(game)


@asynccontextmanager
async def held_up(stack: Stack, board: Board, user: str) -> AsyncIterator[None]:
    """Within the block the next build of a board waits for the entry of a user."""
    connection = await asyncpg.connect(stack.values["DATABASE_URL"])
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(ON_ITS_WAY, board.name, board.user(user))
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_a_board_is_rebuilt_and_how_far_it_has_come_is_seen(
    admin: Page, board: Board, stack: Stack
) -> None:
    await board.play(ada=50, bob=40)
    await to(admin, "Leaderboards")
    row = admin.get_by_role("row", name=board.name)
    async with held_up(stack, board, "ada"):
        await row.get_by_role("button", name="Rebuild").click()
        await admin.get_by_role("dialog").get_by_role("button", name="Rebuild leaderboard").click()
        await expect(row.get_by_role("progressbar", name=f"Building {board.name}")).to_be_visible()
        assert await ranked(board) == ["ada", "bob"]
    await expect(row).to_contain_text("ready")
    assert await ranked(board) == ["ada", "bob"]
    await to(admin, "Audit")
    await expect(admin.get_by_role("row", name=board.name).first).to_contain_text("rebuild")


async def test_what_a_definition_would_change_is_drawn_before_it_is_saved(admin: Page, board: Board) -> None:
    await board.play(ada=50, bob=40, cyd=5)
    await board.play(bob=30)
    await board.call("bob", "Robert")
    await to(admin, "Leaderboards")
    await admin.get_by_role("row", name=board.name).get_by_role("button", name="Edit").click()
    form = admin.get_by_role("region", name=f"Edit {board.name}")
    await form.get_by_label("Operator").select_option("best")
    await form.get_by_role("button", name="Preview").click()
    before, after = (form.get_by_role("region", name=name) for name in ("Now", "By these rules"))
    await expect(before.locator("tbody tr").first).to_contain_text(
        re.compile(f"Robert\\s*{board.user('bob')}")
    )
    await expect(form.locator(".figures")).to_contain_text(re.compile(f"Robert\\s*{board.user('bob')}"))
    await expect(after.locator("tbody tr").first).to_contain_text(board.user("ada"))
    await expect(after.locator("tbody tr").first).to_contain_text("▲1")
    await expect(form.locator(".figures")).to_contain_text("Largest fall")
    await expect(form.locator(".figures")).to_contain_text("#1 → #2")
    assert await ranked(board) == ["bob", "ada", "cyd"]


async def test_a_wrong_definition_is_said_to_be(admin: Page, board: Board) -> None:
    await to(admin, "Leaderboards")
    await admin.get_by_role("row", name=board.name).get_by_role("button", name="Edit").click()
    form = admin.get_by_role("region", name=f"Edit {board.name}")
    await form.get_by_label("Schedule").fill("now and then")
    await form.get_by_role("button", name="Save").click()
    await expect(form.get_by_role("alert")).to_contain_text("schedule")
