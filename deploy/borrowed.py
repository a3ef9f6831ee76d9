"""A local stack for the length of a block: the one that runs already, or one started for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.files import holder_of, read_env
from deploy.processes import Program, alive, await_ready, spawn, stop


def running(folder: Path) -> dict[str, str]:
    """Return what local.env says of the stack in `folder`; nothing when none runs there."""
    holder = holder_of(folder)
    return read_env(folder / "local.env") if holder and alive(holder) else {}


@contextmanager
def stack(folder: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the values of the local.env of the stack in `folder`; start and stop one where none runs.

    Raises:
        ProgramFailed: it could not be started.
    """
    if values := running(folder):
        yield values
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = Program(
        "leaderboard up",
        (sys.executable, "-m", "deploy.cli", "up"),
        folder / "logs" / "up.log",
        environ={**environ, "LOCAL_DATA_DIR": str(folder)},
        grace=40.0,
    )
    process = spawn(program)
    try:
        await_ready(process, program, lambda: bool(running(folder)), timeout=60)
        yield running(folder)
    finally:
        stop(process, program)
