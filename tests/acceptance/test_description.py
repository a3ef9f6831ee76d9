"""The API is what its description says: schemathesis asks all that it allows, and what it forbids.

The ids in paths are those of a game made for the run, so that answers come from behind the 404.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

from tests.stack import Stack, running_stack

# What a document cannot say: which cursors were made by us, that one field bounds another, that a
# user stands in a session once. A stream has no end; it has tests of its own.
CONFIG = """
request-timeout = 10
continue-on-failure = true
[[operations]]
include-path-regex = "/stream$"
enabled = false
[[operations]]
include-method = ["PUT", "POST"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422]
"""

CURSOR = """
[parameters]
"query.cursor" = ""
"""

IDS = """
[parameters]
"path.game" = "{game}"
"path.leaderboard" = "global"
"path.user_id" = "ada"
"path.session_id" = "{session}"
"query.cursor" = ""
[[operations]]
include-name = "DELETE /v1/games/{{game}}"
parameters = {{ "path.game" = "{game}-gone" }}
[[operations]]
include-name = "DELETE /v1/games/{{game}}/leaderboards/{{leaderboard}}"
parameters = {{ "path.leaderboard" = "gone" }}
[[operations]]
include-name = "DELETE /v1/games/{{game}}/users/{{user_id}}"
parameters = {{ "path.user_id" = "gone" }}
"""

EFFORTS = {
    "a few calls of each kind": ["--phases", "fuzzing", "--max-examples", "3"],
    "every rule and its breach": ["--phases", "examples,coverage,fuzzing", "--max-examples", "20"],
}


@pytest.mark.parametrize(
    "effort",
    [
        "a few calls of each kind",
        pytest.param("every rule and its breach", marks=pytest.mark.slow),
    ],
)
async def test_the_api_is_as_described(
    effort: str, stack: Stack, api: httpx.AsyncClient, tmp_path: Path, seed: int
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG + IDS.format(**await seeded(api)))
    await described(stack, EFFORTS[effort], tmp_path, seed)


@pytest.mark.slow
async def test_calls_that_build_on_each_other_are_as_described(tmp_path: Path, seed: int) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG + CURSOR)
    # A stack of its own: they find every game there is, and archive it.
    with running_stack(tmp_path / "stack") as stack:
        await described(stack, ["--phases", "stateful", "--max-examples", "15"], tmp_path, seed)


async def described(stack: Stack, effort: list[str], folder: Path, seed: int) -> None:
    """Ask a stack all that its description allows and forbids; expect no surprise."""
    key = f"Authorization: Bearer {stack.values['ADMIN_KEY']}"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{stack.url}/openapi.json", "-H", key]
    options = ["--seed", str(seed), "--no-color", *effort]
    status, said = await asyncio.to_thread(finish, [*command, *options], folder)
    assert status == 0, said


def finish(command: list[str], folder: Path) -> tuple[int, str]:
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout + run.stderr


async def seeded(api: httpx.AsyncClient) -> dict[str, str]:
    """Make a game with a session, and one that may go; return their ids."""
    game = f"described-{token_hex(4)}"
    for each in (game, f"{game}-gone"):
        assert (await api.put(f"/v1/games/{each}", json={})).status_code == 201
    await api.put(f"/v1/games/{game}/leaderboards/gone", json={})
    results = [{"user_id": user, "score": 5, "metadata": {"a": 1}} for user in ("ada", "bob", "gone")]
    recorded = await api.post(f"/v1/games/{game}/sessions", json={"results": results, "mode": "ranked"})
    return {"game": game, "session": recorded.json()["session_id"]}
