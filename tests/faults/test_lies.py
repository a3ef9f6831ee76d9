"""Redis answers nonsense: no 500, no crash, no score lost; ranks are right again as soon as it does not."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.crowd import Crowd
from tests.faults.fleet import Fleet, running
from tests.faults.liar import liar
from tests.faults.state import check
from tests.support import wait_until


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_spoilt_answers_of_redis_break_nothing(
    tmp_path: Path, database_url: str, redis_url: str, rng: random.Random
) -> None:
    async with AsyncExitStack() as stack:
        wire = await stack.enter_async_context(liar(redis_url, rng))
        fleet = Fleet(tmp_path, database_url, wire.url, each=1)
        await stack.enter_async_context(running(*fleet.replicas))
        api = await stack.enter_async_context(fleet.client())
        crowd = Crowd(api, rng)
        await crowd.prepare()
        async with crowd.playing():
            wire.share = 0.2
            await wait_until(lambda: wire.lies >= 300, timeout=90)
            wire.share = 0.0
            await wire.cut()
            await wire.heal()
        # What a well-formed lie says of a rank is believed; how it is answered is what counts here.
        assert not [each for each in crowd.wrong if each.startswith(("GET", "POST"))], crowd.statuses
        model = await check(fleet.values, api, crowd.path.rpartition("/")[2])
        recorded = {str(session_id) for session_id in model.sessions}
        assert crowd.acknowledged <= recorded <= crowd.acknowledged | crowd.given_up
        for replica in fleet.replicas:
            assert replica.process.poll() is None
            assert "unexpected error" not in replica.program.log.read_text()
