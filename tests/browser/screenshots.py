"""`make screenshots`: the pages at both widths in both themes, from the stack that runs in LOCAL_DATA_DIR.

Daily ranks take days to come about: those of one player are put into the database while pictures are taken.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random

import click
import httpx
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from deploy.borrowed import running
from tests.browser.boards import Past

SIZES = (ViewportSize(width=1280, height=860), ViewportSize(width=390, height=844))
PARTS = ("Leaderboards", "Users", "Sessions", "Seasons", "Audit", "Health")
PLACE = 30
"""The place of the player whom the pictures are taken for."""


def main(target: Path) -> int:
    """Take them all; the demo should be playing."""
    values = running(Path(os.environ.get("LOCAL_DATA_DIR", ".local")).absolute())
    if not values:
        click.echo("no stack runs here: `make run`, and `make demo` beside it", err=True)
        return 1
    target.mkdir(parents=True, exist_ok=True)
    top = httpx.get(f"{values['GATEWAY_URL']}/v1/games/demo/leaderboards/global/top?limit={PLACE}").json()
    me = top["entries"][-1]["user_id"]
    user = httpx.get(f"{values['GATEWAY_URL']}/v1/games/demo/users/{me}").json()
    ranks = {entry["leaderboard"]: entry["rank"] for entry in user["entries"] if entry["season"] == "all"}
    past = Past(values["DATABASE_URL"])
    asyncio.run(remember(past, me, ranks))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for size in SIZES:
                for theme in ("light", "dark"):
                    take(browser, values, me, (target, size, theme))
            browser.close()
    finally:
        asyncio.run(past.forget())
    return 0


async def remember(past: Past, user: str, ranks: Mapping[str, int]) -> None:
    """Note how a player came to its places."""
    rng = Random(3)  # the same way each time
    for board, rank in ranks.items():
        days = range(30, 0, -1)
        await past.ranked(board, user, [max(1, round(rank + n * 3.4 + rng.gauss(0, 7))) for n in days])


def take(browser: Browser, values: Mapping[str, str], me: str, look: tuple[Path, ViewportSize, str]) -> None:
    """Take every page in one form."""
    target, size, theme = look
    context = browser.new_context(
        base_url=values["GATEWAY_URL"],
        viewport=size,
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.add_init_script(f"try {{ localStorage.setItem('me:demo', '{me}') }} catch {{}}")

    def shot(name: str, *, whole: bool = False) -> None:
        page.screenshot(path=target / f"{name}-{size['width']}-{theme}.png", full_page=whole)

    places = {"standings": "/", "sprint": "/?board=sprint", "player": f"/?player={me}", "docs": "/docs"}
    for name, path in places.items():
        page.goto(path)
        page.wait_for_timeout(2500)  # charts are drawn, ranks have changed
        shot(name)
    page.goto("/admin")
    page.get_by_title("Use an API key").click()
    page.locator("#key-input").fill(values["ADMIN_KEY"])
    page.get_by_role("button", name="Use this key").click()
    for part in PARTS:
        page.get_by_role("tab", name=part).click()
        if part == "Users":
            page.get_by_role("searchbox").fill("a")
            page.keyboard.press("Enter")
        page.wait_for_timeout(12_000 if part == "Health" else 800)
        if part == "Leaderboards":
            edit(page)
        shot(f"admin-{part.lower()}", whole=part == "Leaderboards")
    context.close()


def edit(page: Page) -> None:
    """Look at what other rules would change."""
    page.get_by_role("row", name="best").get_by_role("button", name="Edit").click()
    page.get_by_label("Operator").select_option("latest")
    page.get_by_role("button", name="Preview").click()
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
