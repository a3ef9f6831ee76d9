"""Debian's Chromium, driven as a person would, against the whole stack.

Where there is no Chromium the tests are skipped; REQUIRE_BROWSER=1 (as CI sets it) makes that a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.browser.boards import Board, Past
from tests.stack import Stack
from tests.support import NO_TLS

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 10_000
"""Milliseconds anything on a page may take; two cores shared with a whole stack are slow at times."""

Visit = Callable[..., Awaitable[Page]]


def chromium() -> str:
    """Return the path of the browser; skip, or fail where it must be there."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        say = pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip
        say("no Chromium here: install the package chromium, or name one with CHROMIUM")
    return found


expect.set_options(timeout=PATIENCE)


def pytest_runtest_setup() -> None:
    """Find the browser before a stack is started for nothing."""
    chromium()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, stack: Stack) -> AsyncIterator[Visit]:
    """Open pages, each in a window of its own; nothing may break the policy or come from elsewhere."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    host = urlsplit(stack.url).netloc

    def asked(request: Request) -> None:
        if urlsplit(request.url).netloc != host:
            complaints.append(f"asked another host: {request.url}")

    def said(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            complaints.append(message.text)

    async def open_page(path: str = "/", *, width: int = 1280, **options: Any) -> Page:
        viewport = ViewportSize(width=width, height=844 if width < 600 else 860)
        context = await browser.new_context(base_url=stack.url, viewport=viewport, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", asked)
        page.on("console", said)
        await page.goto(path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="module")
async def board(stack: Stack) -> AsyncIterator[Board]:
    """A leaderboard of the public game that nothing else writes to."""
    async with httpx.AsyncClient(
        base_url=stack.url,
        headers={"authorization": f"Bearer {stack.values['ADMIN_KEY']}"},
        timeout=15,
        verify=NO_TLS,
    ) as client:
        board = Board(client)
        await board.define()
        yield board
        await board.drop()


@pytest.fixture
def past(stack: Stack) -> Past:
    """What happened in the public game before this test."""
    return Past(stack.values["DATABASE_URL"])


async def use_key(page: Page, key: str) -> None:
    """Give a page a key, as a person would."""
    await page.get_by_title("Use an API key").click()
    await page.locator("#key-input").fill(key)
    await page.get_by_role("button", name="Use this key").click()
