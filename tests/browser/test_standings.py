"""The standings as people see them."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.boards import Board
from tests.browser.conftest import Visit, use_key
from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = {
    "img": "<img src=x onerror=document.title='owned'>",
    "rtl": "\u202eمُتَصَدِّر\u202d عربي",
    "emoji": "👩‍👩‍👧‍👦🏴‍☠️ Zoë",
    "long": "W" * 64,
}


async def names(page: Page) -> list[str]:
    return await page.locator("#rows tr .names bdi").all_inner_texts()


async def live(page: Page) -> None:
    await expect(page.locator("#light")).to_have_text("Live")


async def test_two_windows_see_a_change_as_it_happens(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=40)
    windows = [await visit(board.address), await visit(board.address)]
    for page in windows:
        await live(page)
        await expect(page.locator("#rows tr").first).to_contain_text("ada")
    await board.play(bob=20)
    for page in windows:
        await expect(page.locator("#rows tr").first).to_contain_text("bob")
        await expect(page.locator("#rows tr").first).to_contain_text("▲1")
        await expect(page.locator("#rows tr").nth(1)).to_contain_text("▼1")


async def test_rows_glide_to_their_new_place(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=40)
    page = await visit(board.address)
    await live(page)
    await page.evaluate(
        """() => {
            window.moves = [];
            const animate = Element.prototype.animate;
            Element.prototype.animate = function (frames, ...rest) {
                if (frames[0].transform) window.moves.push(this.dataset.user);
                return animate.call(this, frames, ...rest);
            };
        }"""
    )
    await board.play(bob=20)
    await expect(page.locator("#rows tr").first).to_contain_text("bob")
    assert set(await page.evaluate("window.moves")) == {board.user("ada"), board.user("bob")}


async def test_ties_are_shown_as_ties(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=50, cyd=10)
    page = await visit(board.address)
    await live(page)
    assert await page.locator("#rows .number").all_inner_texts() == ["1", "1", "3"]
    assert await page.locator("#rows small:has-text('tied')").all_inner_texts() == ["2 tied", "2 tied"]


async def test_everything_can_be_reached_by_keyboard(visit: Visit, board: Board) -> None:
    await board.play(ada=50)
    page = await visit(board.address)
    await live(page)
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the standings")).to_be_focused()
    await page.keyboard.press("Enter")
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.matches('#rows a')"):
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="This is me")).to_be_visible()
    await page.go_back()
    await expect(page.locator("#title")).to_have_text(board.name)


async def test_hostile_names_are_only_names(visit: Visit, board: Board) -> None:
    await board.play(**dict.fromkeys(HOSTILE, 7))
    for name, shown in HOSTILE.items():
        await board.call(name, shown, "GB")
    page = await visit(board.address, width=390)
    await live(page)
    assert set(await names(page)) == set(HOSTILE.values())
    assert await page.title() != "owned"
    assert await page.locator("#rows img").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_phone_scrolls_in_one_direction_only(visit: Visit, board: Board) -> None:
    await board.play(**{f"p{n}": 9_007_199_254_740 - n for n in range(30)})
    page = await visit(board.address, width=390)
    await live(page)
    assert await page.evaluate("document.documentElement.scrollWidth") == 390
    await page.goto(f"/?game=demo&player={board.user('p1')}")
    await expect(page.get_by_role("button", name="This is me")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") == 390


async def test_offline_is_said_and_recovered_from(visit: Visit, board: Board) -> None:
    await board.play(ada=50)
    page = await visit(board.address)
    await live(page)
    await page.context.set_offline(True)
    await expect(page.locator("#light")).to_have_text("Offline")
    await expect(page.locator("#rows tr")).to_have_count(1)
    await board.play(bob=90)
    await page.context.set_offline(False)
    await live(page)
    await expect(page.locator("#rows tr").first).to_contain_text("bob")


@pytest.mark.slow
async def test_without_streams_it_asks_every_ten_seconds(visit: Visit, board: Board) -> None:
    await board.play(ada=50)
    page = await visit("/docs")
    await page.context.route("**/stream?*", lambda route: route.abort())
    await page.goto(board.address)
    await expect(page.locator("#light")).to_have_text("Every 10 s")
    await board.play(bob=90)
    await expect(page.locator("#rows tr").first).to_contain_text("bob", timeout=15_000)


async def test_the_list_is_there_without_javascript(visit: Visit, board: Board) -> None:
    await board.play(**{f"p{n:02}": 100 - n for n in range(30)})
    page = await visit(board.address, java_script_enabled=False)
    assert await page.locator("#rows tr").count() == 25
    await page.get_by_text("Next").click()
    assert await page.locator("#rows .number").all_inner_texts() == ["26", "27", "28", "29", "30"]


async def test_any_place_can_be_gone_to(visit: Visit, board: Board) -> None:
    await board.play(**{f"p{n:02}": 100 - n for n in range(60)})
    page = await visit(board.address)
    await page.locator("#rank-input").fill("41")
    await page.keyboard.press("Enter")
    await expect(page.locator("#range")).to_contain_text("60 of 60")
    await expect(page.locator("#rows .number").first).to_have_text("41")


async def test_around_me_is_where_i_am_among_those_tied_with_me(visit: Visit, board: Board) -> None:
    await board.play(**{f"p{n:02}": 100 - n // 60 for n in range(90)})
    page = await visit(board.address)
    await page.evaluate("user => localStorage.setItem('me:demo', user)", board.user("p40"))
    await page.reload()
    await page.get_by_role("link", name="Around me").click()
    rows = page.locator("#rows tr")
    await expect(rows).to_have_count(25)
    await expect(rows.nth(12)).to_contain_text("p40")
    await expect(rows.nth(12)).to_have_class("r1 me")
    await board.play(p40=1)
    await expect(rows.first).to_contain_text("p40")
    await page.get_by_role("link", name="Top", exact=True).click()
    await expect(page.locator("#range")).to_contain_text("25 of 90")


async def test_colours_chosen_by_hand_stay(visit: Visit, board: Board) -> None:
    page = await visit(board.address, color_scheme="light")
    await page.get_by_role("button", name="Use dark colours").click()
    await page.reload()
    await expect(page.get_by_role("button", name="Use light colours")).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 17, 21)"


async def test_the_page_says_how_to_ask_for_what_it_shows(visit: Visit, board: Board) -> None:
    await board.play(ada=50)
    page = await visit(board.address)
    await page.get_by_text("As curl").click()
    command = (
        (await page.locator(".curl pre").inner_text())
        .splitlines()[0]
        .removeprefix("curl '")
        .removesuffix("'")
    )
    shown = (await board.client.get(command)).json()
    assert [entry["user_id"] for entry in shown["entries"]] == [board.user("ada")]


async def test_a_player_is_found_and_pinned(visit: Visit, board: Board) -> None:
    await board.play(ada=50, bob=40)
    page = await visit(board.address)
    await page.locator("#search").fill(board.user("bob"))
    await page.locator("#found a").click()
    await page.get_by_role("button", name="This is me").click()
    await page.goto(board.address)
    await expect(page.locator("#mine")).to_contain_text("#2")
    await board.play(bob=20)
    await expect(page.locator("#mine")).to_contain_text("#1")
    await expect(page.locator("svg.chart text", has_text="you are here")).to_be_visible()


async def test_a_result_submitted_here_moves_the_rank(visit: Visit, board: Board, stack: Stack) -> None:
    await board.define(modes=None)
    await board.play(ada=50)
    page = await visit(board.address)
    await use_key(page, stack.values["SUBMIT_KEY"])
    await page.locator("#try-user").fill(board.user("zed"))
    await page.locator("#try-score").fill("9007199254740991")  # others play in this game too
    await page.get_by_role("button", name="Submit result").click()
    await expect(page.locator(".moved")).to_contain_text("#1 (new)")
    await expect(page.locator("#rows tr", has_text=board.user("zed")).first).to_be_visible()
    assert "eyJ" not in await page.evaluate("JSON.stringify([localStorage, sessionStorage, location.href])")
