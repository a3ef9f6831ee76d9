"""The supervisor with small real programs: those that die, that will not stop, that are not there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.processes import MAX_LOG_BYTES, Program, ProgramFailed, alive, put_aside, tail
from deploy.supervisor import Child, Supervisor
from tests.support import wait_until

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)"


class Bench:
    """A supervisor, what it said, and a way to make children from a line of Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(self.said.append, self.changed)

    def changed(self) -> None:
        self.changes += 1

    def child(self, code: str = "print('up', flush=True)", *, then: str = "time.sleep(3600)") -> Child:
        """A child that is ready once it has printed `up`."""
        log = self.folder / "child.log"
        command = (sys.executable, "-c", f"import time; {code}; {then}")

        async def ready() -> bool:
            return b"up" in log.read_bytes()

        return Child(Program("child", command, log, grace=0.3), ready, before=lambda: log.write_bytes(b""))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    with bench.supervisor:
        yield bench


async def test_a_child_that_dies_is_started_again_and_said_so(bench: Bench) -> None:
    child = bench.child()
    await bench.supervisor.start(child)
    pid = child.pid
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: child.pid != pid and "back" in bench.said[-1])
    assert bench.said[0] == "child ended by SIGKILL; starting it again"
    assert bench.changes == 1


async def test_a_child_that_dies_again_and_again_is_started_again_ever_more_slowly(bench: Bench) -> None:
    child = bench.child(then="time.sleep(0.3); exit(3)")
    await bench.supervisor.start(child)
    await wait_until(lambda: any("3 times in a row" in line for line in bench.said), timeout=10)
    assert "ended with code 3" in bench.said[0]


async def test_a_child_whose_program_is_gone_for_a_moment_comes_back(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.symlink_to("/bin/sleep")

    async def ready() -> bool:
        return True

    child = Child(Program("child", (str(program), "3600"), tmp_path / "log"), ready)
    await bench.supervisor.start(child)
    program.unlink()
    pid = child.pid
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: any("cannot be started" in line for line in bench.said))
    program.symlink_to("/bin/sleep")
    await wait_until(lambda: child.pid != pid and alive(child.pid))


async def test_a_child_that_ends_before_it_serves_is_an_error_with_its_last_words(bench: Bench) -> None:
    with pytest.raises(ProgramFailed, match=r"child ended with code 7:\n  \| no money"):
        await bench.supervisor.start(bench.child("print('no money', flush=True); exit(7)"))


async def test_a_child_that_never_serves_is_an_error(bench: Bench) -> None:
    with pytest.raises(ProgramFailed, match="not ready after"):
        await bench.supervisor.start(bench.child("pass"), timeout=0.2)


async def test_a_child_that_will_not_stop_is_killed_when_its_grace_is_over(bench: Bench) -> None:
    child = bench.child(STUBBORN)
    await bench.supervisor.start(child)
    await bench.supervisor.stop(child)
    assert not alive(child.pid)
    assert bench.said == ["child did not stop within 0.3 s; it is killed"]


async def test_a_child_told_to_stop_is_not_started_again(bench: Bench) -> None:
    child = bench.child()
    await bench.supervisor.start(child)
    pid = child.pid
    await bench.supervisor.stop(child)
    await asyncio.sleep(0)
    assert (child.pid, alive(pid), bench.said) == (pid, False, [])


async def test_whoever_leaves_the_block_leaves_no_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    child = bench.child(STUBBORN)
    with bench.supervisor:
        await bench.supervisor.start(child)
    assert not alive(child.pid)


async def test_told_twice_to_stop_all_end_at_once(bench: Bench) -> None:
    child = bench.child(STUBBORN)
    await bench.supervisor.start(child)
    stopping = asyncio.create_task(bench.supervisor.stop(child))
    await asyncio.sleep(0)
    bench.supervisor.kill()
    await stopping
    assert bench.said == []


def test_a_log_past_its_bound_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    put_aside(log)
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    put_aside(log)
    assert not log.exists()
    assert (tmp_path / "logs" / "child.log.1").exists()


def test_the_tail_of_a_log_is_short_and_says_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    assert "nothing was logged" in tail(log)
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert tail(log).splitlines()[0] == "  | line 88"
    assert str(log) in tail(log)
