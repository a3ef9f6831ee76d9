"""Keeps child processes running: restarts those that die, stops all of them in order."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from deploy.processes import Program, ProgramFailed, ending, spawn, tail

STEADY = 10.0
"""Seconds a child must have lived for its death to count as the first."""

MAX_PAUSE = 1.0
"""Seconds before another start of a child that keeps dying, at most."""

POLL = 0.02


class Child:
    """A program, how to know that it is ready, and the process that runs it now.

    Args:
        program: what to run.
        ready: says whether it serves.
        before: called before each start.
    """

    def __init__(
        self,
        program: Program,
        ready: Callable[[], Awaitable[bool]],
        before: Callable[[], object] | None = None,
    ) -> None:
        self.program = program
        self._ready = ready
        self._before = before
        self.process: subprocess.Popen[bytes] | None = None
        self.exited = asyncio.Event()
        self.started = 0.0
        self.keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 before the first start."""
        return self.process.pid if self.process else 0

    def spawn(self) -> None:
        """Start the process."""
        if self._before:
            self._before()
        self.exited.clear()
        self.process = spawn(self.program)
        self.started = asyncio.get_running_loop().time()

    def reap(self) -> None:
        """Note the process's end, if it has ended."""
        if self.process is not None and self.process.poll() is not None:
            self.exited.set()

    async def ready(self) -> bool:
        """Wait until it serves; say False when it ended before."""
        while not self.exited.is_set():
            if await self._ready():
                return True
            await asyncio.sleep(POLL)
        return False


class Supervisor:
    """Starts, keeps and stops children. One per process: it takes SIGCHLD.

    Args:
        say: tells a person what happened.
        changed: called when a child has a new process id.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._children: list[Child] = []
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave no process behind, whatever happened."""
        for child in self._children:
            if child.keeper:
                child.keeper.cancel()
            if child.process is not None:
                child.process.kill()
                child.process.wait()
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def kill(self) -> None:
        """End every child at once."""
        for child in self._children:
            if child.process is not None:
                child.process.kill()

    def _reap(self) -> None:
        for child in self._children:
            child.reap()

    async def start(self, child: Child, *, timeout: float = 30) -> None:
        """Start a child, wait until it serves, keep it running from then on.

        Raises:
            ProgramFailed: it ended before it served, or did not serve in time.
        """
        name, log = child.program.name, child.program.log
        self._children.append(child)
        child.spawn()
        try:
            async with asyncio.timeout(timeout):
                serves = await child.ready()
        except TimeoutError:
            raise ProgramFailed(f"{name} was not ready after {timeout:g} s:\n{tail(log)}") from None
        if not serves:
            assert child.process is not None
            raise ProgramFailed(f"{name} ended {ending(child.process)}:\n{tail(log)}")
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {name}")

    async def _keep(self, child: Child) -> None:
        deaths = 0
        while True:
            await child.exited.wait()
            deaths = 1 if self._loop.time() - child.started > STEADY else deaths + 1
            pause = 0.0 if deaths == 1 else min(MAX_PAUSE, 0.05 * 2**deaths)
            self._tell_death(child, deaths)
            await asyncio.sleep(pause)
            try:
                child.spawn()
            except ProgramFailed as error:  # its binary is gone, perhaps for a moment
                self._say(str(error))
                child.exited.set()
                continue
            try:
                self._changed()
            except OSError as error:  # a full disk must not keep it from being watched
                self._say(f"the new process id could not be published: {error}")
            if await child.ready():
                seconds = self._loop.time() - child.started
                self._say(f"{child.program.name} is back, {seconds:.1f} s after its start")

    def _tell_death(self, child: Child, deaths: int) -> None:
        how = ending(child.process) if child.process else "at once"
        if deaths == 1:
            self._say(f"{child.program.name} ended {how}; starting it again")
        elif deaths <= 5 or deaths % 60 == 0:  # then about once a minute
            again = f"ended {how}, {deaths} times in a row; starting it again, at least every"
            self._say(f"{child.program.name} {again} {MAX_PAUSE:g} s; its log: {child.program.log}")

    async def stop(self, *children: Child) -> None:
        """Stop children side by side, each within its grace."""
        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(self._stop(child))

    async def _stop(self, child: Child) -> None:
        if child.keeper:
            child.keeper.cancel()
        if child.process is None:
            return
        child.reap()
        if not child.exited.is_set():
            child.process.send_signal(child.program.stop_signal)
        try:
            async with asyncio.timeout(child.program.grace):
                await child.exited.wait()
        except TimeoutError:
            self._say(f"{child.program.name} did not stop within {child.program.grace:g} s; it is killed")
            child.process.kill()
            await child.exited.wait()
