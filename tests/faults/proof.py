"""What must be true whatever broke: asked of a crowd that has played, and of the whole state."""

from __future__ import annotations

from uuid import UUID

from tests.faults.crowd import Crowd
from tests.faults.state import check
from tests.support import wait_until


async def prove(crowd: Crowd, values: dict[str, str]) -> None:
    """Check all that a crowd saw and all that is there now.

    No answer was wrong, every acknowledged session is there once and as it was sent, others once or
    not at all; history, entries, index and answers agree.
    """
    await wait_until(lambda: landed(crowd), timeout=30)
    game = crowd.path.rpartition("/")[2]
    model = await check(values, crowd.api, game)
    await check(values, crowd.api, f"{game}-quiet")
    recorded = set(map(str, model.sessions))
    assert not crowd.wrong, (crowd.wrong[:5], crowd.statuses)
    assert crowd.acknowledged <= recorded, crowd.statuses
    assert recorded <= crowd.acknowledged | crowd.given_up, "recorded, but never sent"
    for session in recorded:
        assert model.sessions[UUID(session)].scores == crowd.sent[session]


async def landed(crowd: Crowd) -> bool:
    """Say whether one more session is recorded: then all that clients gave up has been decided too."""
    return await crowd.play() is not None
