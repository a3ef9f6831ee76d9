"""`leaderboard up`: what it promises to the person who runs it, and to whoever kills parts of it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from deploy.processes import alive
from tests.stack import Stack, running_stack, surroundings
from tests.support import wait_until

NAMES = {"GATEWAY", "SCORE", "RANK", "POSTGRES", "REDIS"}


@contextmanager
def up(folder: Path, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """Run `leaderboard up`, its output in a pipe; what is left of it at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "up"],
        env={**surroundings(), "LOCAL_DATA_DIR": str(folder), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def refused(folder: Path, **environ: str) -> str:
    """Return what `leaderboard up` says when it does not start."""
    with up(folder, **environ) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    return output


async def score_of(api: httpx.AsyncClient, user: str) -> int | None:
    try:
        reply = await api.get(f"/v1/games/demo/leaderboards/global/users/{user}")
    except httpx.TransportError:
        return None
    score: int | None = reply.json()["entry"]["score"] if reply.status_code == 200 else None
    return score


async def submit(api: httpx.AsyncClient, user: str, score: int) -> bool:
    """Post one result; say whether it was recorded."""
    body = {"results": [{"user_id": user, "score": score}]}
    try:
        return (await api.post("/v1/games/demo/sessions", json=body)).status_code == 201
    except httpx.TransportError:
        return False


def test_local_env_names_everything_and_is_private(stack: Stack) -> None:
    assert set(stack.values) == {
        *(f"{name}_PID" for name in NAMES),
        *("GATEWAY_URL", "ADMIN_KEY", "SUBMIT_KEY", "READ_KEY", "DATABASE_URL", "REDIS_URL"),
    }
    assert stat.S_IMODE((stack.folder / "local.env").stat().st_mode) == 0o600
    assert all(alive(stack.pid(name)) for name in NAMES)


@pytest.mark.parametrize("name", ["GATEWAY", "SCORE", "RANK", "REDIS"])
def test_processes_with_much_memory_ask_for_huge_pages(stack: Stack, name: str) -> None:
    given = Path(f"/proc/{stack.pid(name)}/environ").read_bytes().split(b"\0")
    assert b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in given


async def test_the_demo_game_may_be_read_without_a_key(stack: Stack) -> None:
    async with stack.client(key=None) as anyone:
        assert (await anyone.get("/v1/games/demo/leaderboards/global/top")).status_code == 200


@pytest.mark.parametrize(("key", "status"), [("READ_KEY", 403), ("SUBMIT_KEY", 201), ("ADMIN_KEY", 201)])
async def test_each_key_has_its_scope(stack: Stack, key: str, status: int) -> None:
    async with stack.client(key) as client:
        body = {"results": [{"user_id": "keyed", "score": 1}]}
        assert (await client.post("/v1/games/demo/sessions", json=body)).status_code == status


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_a_killed_child_is_back_within_two_seconds(
    stack: Stack, api: httpx.AsyncClient, name: str
) -> None:
    user, pid = f"survivor-{name}", stack.pid(name)
    assert await submit(api, user, 5)
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: stack.pid(name) != pid and alive(stack.pid(name)), timeout=2)

    async def posts() -> bool:
        return await submit(api, user, 5)

    async def reads() -> bool:
        return await score_of(api, user) == 10

    await wait_until(posts, timeout=10)
    await wait_until(reads, timeout=10)


async def test_what_was_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    with running_stack(tmp_path) as first:
        pids = [first.pid(name) for name in NAMES]
        key = first.values["SUBMIT_KEY"]
        async with first.client() as api:
            assert await submit(api, "ada", 7)
    assert not any(map(alive, pids))
    assert not (tmp_path / "local.env").exists()
    with running_stack(tmp_path) as second:
        assert second.values["SUBMIT_KEY"] == key
        async with second.client() as api:
            assert await score_of(api, "ada") == 7


async def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells children that their parent died")
    with up(tmp_path) as process:
        await wait_until((tmp_path / "local.env").exists, timeout=30)
        values = Stack(tmp_path, 0, 0)
        pids = [values.pid(name) for name in NAMES]
        process.kill()
    with running_stack(tmp_path):
        assert not any(map(alive, pids))


async def test_ctrl_c_while_starting_stops_everything(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        await wait_until((tmp_path / "postgres" / "postmaster.pid").exists, timeout=30)
        pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert output.rstrip().endswith("stopped")
    assert not alive(pid)


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        output = refused(tmp_path, SCORE_PORT=port)
    assert f"SCORE_PORT: port {port} " in output
    assert not (tmp_path / "postgres").exists()


def test_all_wrong_settings_are_named_together(tmp_path: Path) -> None:
    output = refused(tmp_path, GATEWAY_PORT="eighty", RANK_PORT="0", LOCAL_REDIS_PORT="70000")
    assert all(name in output for name in ("GATEWAY_PORT", "RANK_PORT", "LOCAL_REDIS_PORT"))


def test_one_port_for_two_is_refused(tmp_path: Path) -> None:
    output = refused(tmp_path, SCORE_PORT="18999", RANK_PORT="18999")
    assert "SCORE_PORT: port 18999 is given twice" in output


def test_a_data_directory_serves_one_stack_at_a_time(stack: Stack) -> None:
    assert f"{stack.folder} is in use by the process" in refused(stack.folder)


def test_a_service_that_cannot_start_shows_why(tmp_path: Path) -> None:
    output = refused(tmp_path, SCORE_POOL_SIZE="none")
    assert "score_service ended with code 2" in output
    assert "SCORE_POOL_SIZE" in output


def test_data_of_another_postgres_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    assert "was made by Postgres 17" in refused(tmp_path)
