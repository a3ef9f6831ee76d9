"""Child processes: each in a session of its own, ended with its parent, stopped in bounded time."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A log past this size is put aside as `.1` when its program starts."""

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Has a program's malloc (glibc 2.35) ask for huge pages, which systems lend to those who ask.

A miss of the processor's page tables costs much, in virtual machines most."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProgramFailed(Exception):
    """A program could not be started, or ended before it was ready; says why, for a person."""


@dataclass(frozen=True)
class Program:
    """What to run, where its output goes, how it is asked to stop."""

    name: str
    command: tuple[str, ...]
    log: Path
    environ: Mapping[str, str] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 5.0
    """Seconds from `stop_signal` to SIGKILL."""


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start a program; its output is appended to its log.

    It gets a session of its own, so that Ctrl-C in a terminal reaches only us, who stop things in
    order; on Linux the kernel stops it when we die. Call this from the main thread only: the
    kernel takes the end of the *thread* that started a child for the end of its parent.

    Raises:
        ProgramFailed: there is no such program, or it may not be run.
    """
    put_aside(program.log)
    try:
        with program.log.open("ab") as log:
            return subprocess.Popen(
                program.command,
                env=program.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_bound_to_parent(program.stop_signal),
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProgramFailed(f"{program.name} cannot be started: {error}") from error


def _bound_to_parent(sig: signal.Signals) -> Callable[[], None] | None:
    libc = _libc
    if libc is None:
        return None
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(sig))
        if os.getppid() != parent:  # it died before the call: no signal will come
            os._exit(1)

    return bind


def stop(process: subprocess.Popen[bytes], program: Program) -> None:
    """Ask a child to stop, wait, kill it when its grace has run out."""
    process.send_signal(program.stop_signal)
    try:
        process.wait(program.grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_ready(
    process: subprocess.Popen[bytes], program: Program, ready: Callable[[], bool], *, timeout: float = 30
) -> None:
    """Wait until `ready()`.

    Raises:
        ProgramFailed: the child ended first, or was not ready in time; it is stopped then.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None:
            raise ProgramFailed(f"{program.name} ended {ending(process)}:\n{tail(program.log)}")
        if time.monotonic() > deadline:
            stop(process, program)
            raise ProgramFailed(f"{program.name} was not ready after {timeout:g} s:\n{tail(program.log)}")
        time.sleep(0.01)


def ending(process: subprocess.Popen[bytes]) -> str:
    """Say how an ended child ended: `with code 1`, `by SIGKILL`."""
    code = process.returncode
    if code >= 0:
        return f"with code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def tail(log: Path, lines: int = 12) -> str:
    """Return the end of a log, indented, for an error message."""
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(max(0, size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    kept = text.splitlines()[-lines:] or ["(nothing was logged)"]
    return "\n".join(f"  | {line}" for line in kept) + f"\n  the whole log: {log}"


def put_aside(log: Path) -> None:
    """Rename a log that has grown past its bound."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def alive(pid: int) -> bool:
    """Say whether a process with this id runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:
        return True
