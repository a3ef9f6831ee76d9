"""`make screenshots`: the pages at both widths in both themes, from the stack that runs in LOCAL_DATA_DIR."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click
from playwright.sync_api import Browser, ViewportSize, sync_playwright

from deploy.borrowed import running

SIZES = (ViewportSize(width=1280, height=860), ViewportSize(width=390, height=844))
PAGES = {"standings": "/", "player": "/?game=demo&player=bot-00042", "docs": "/docs"}
ME = "try { localStorage.setItem('me:demo', 'bot-00042') } catch {}"


def main(target: Path) -> int:
    """Take them all; the demo should be playing."""
    values = running(Path(os.environ.get("LOCAL_DATA_DIR", ".local")).absolute())
    if not values:
        click.echo("no stack runs here: `make run`, and `make demo` beside it", err=True)
        return 1
    target.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, path in PAGES.items():
            take(browser, values["GATEWAY_URL"] + path, target / name)
        browser.close()
    return 0


def take(browser: Browser, url: str, name: Path) -> None:
    """Take one page in all its forms."""
    for size in SIZES:
        for theme in ("light", "dark"):
            context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
            page = context.new_page()
            page.add_init_script(ME)
            page.goto(url)
            page.wait_for_timeout(2500)  # charts are drawn, ranks have changed
            page.screenshot(path=f"{name}-{size['width']}-{theme}.png")
            context.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
