"""What a page weighs; how quick it is, is measured by `python -m tests.benchmarks.page`."""

from __future__ import annotations

import pytest

from tests.browser.boards import Board
from tests.browser.conftest import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRANSFERRED = """() => ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
    .filter((each) => each.initiatorType !== 'fetch')
    .map((each) => [new URL(each.name).pathname, each.transferSize])"""


@pytest.mark.parametrize("path", ["/", "/admin"])
async def test_a_page_weighs_less_than_100_kilobytes(visit: Visit, board: Board, path: str) -> None:
    await board.play(**{f"p{n}": n for n in range(30)})
    page = await visit(board.address if path == "/" else path)
    await page.wait_for_load_state("load")
    files = dict(await page.evaluate(TRANSFERRED))
    assert files[path] > 1000
    assert files["/web/client.js"] > 1000
    assert sum(files.values()) < 100_000, files
