"""How soon the page shows something: a browser with an empty cache opens `/` again and again.

`python -m tests.benchmarks.page [TIMES]` uses the stack that runs in LOCAL_DATA_DIR, or starts one; with
`make demo` playing there, the standings are full. It prints medians, and the greatest of each.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from deploy.borrowed import stack

TIMES = 20
LOOK = """async () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    if (!paint || !document.querySelector('#rows tr[data-user], #state:not([hidden])')) return null;
    const [page] = performance.getEntriesByType('navigation');
    if (!page.loadEventEnd) return null;
    const files = performance.getEntriesByType('resource').filter((each) => each.initiatorType !== 'fetch');
    return {
        'first byte, ms': page.responseStart,
        'first content, ms': paint.startTime,
        'load event, ms': page.loadEventEnd,
        'files': files.length + 1,
        'transferred, bytes': [page, ...files].reduce((sum, each) => sum + each.transferSize, 0),
    };
}"""


def main(times: int) -> None:
    """Open the page, print what the browser noted."""
    folder = Path(os.environ.get("LOCAL_DATA_DIR", ".local")).absolute()
    with stack(folder, os.environ) as values, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        once(browser, values["GATEWAY_URL"])  # the first start of a browser is its own affair
        seen = [once(browser, values["GATEWAY_URL"]) for _ in range(times)]
        browser.close()
    table = Table("", "median", "greatest", title=f"/ opened {times} times, nothing cached")
    for name in seen[0]:
        values_of = [each[name] for each in seen]
        table.add_row(name, f"{median(values_of):,.0f}", f"{max(values_of):,.0f}")
    Console().print(table)


def once(browser: Browser, url: str) -> dict[str, Any]:
    """Open the page with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(LOOK)
    seen: dict[str, Any] = page.evaluate(LOOK)
    context.close()
    return seen


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else TIMES)
