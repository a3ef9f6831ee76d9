"""Jobs that run unasked: a failing one is tried again, and soon, however rarely it runs."""

from __future__ import annotations

import pytest

from shared import supervise
from shared.errors import StoreUnavailable
from shared.supervise import FAILURES, repeated
from tests.support import wait_until


@pytest.mark.parametrize("every", [0.01, 3600.0])
async def test_a_job_that_fails_is_tried_again_soon(every: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "MAX_PAUSE", 0.05)
    monkeypatch.setattr(supervise, "MAX_RARE_PAUSE", 0.05)
    name, runs = f"a test every {every:g} s", 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise StoreUnavailable("away")

    async with repeated(name, job, every=every):
        await wait_until(lambda: runs >= 4)
    assert FAILURES.labels(name)._value.get() == 3
