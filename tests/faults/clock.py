"""Servers whose clock can be set while they run, by libfaketime (Debian's package `libfaketime`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest

from deploy.embedded import THROW_AWAY, Postgres, free_ports
from deploy.processes import await_ready
from tests.servers import running

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class Clock:
    """A clock that is ahead of the real one by whole seconds, as a file says; read again every second."""

    def __init__(self, file: Path) -> None:
        if not LIBRARIES:
            pytest.skip("needs libfaketime")
        self._file = file
        self.ahead(0)
        file.chmod(0o644)

    def ahead(self, seconds: int) -> None:
        """Jump."""
        new = self._file.with_name(f"{self._file.name}.new")
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.replace(self._file)

    @property
    def environ(self) -> dict[str, str]:
        """What makes a process go by this clock for the time of day; waits are measured as ever."""
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


@contextmanager
def postgres_by(clock: Clock, folder: Path) -> Iterator[str]:
    """Run a throw-away Postgres that goes by a clock; yield the DSN of its superuser."""
    (port,) = free_ports(1)
    server = Postgres(folder / "postgres", port, token_hex(8), folder / "postgres.log", THROW_AWAY)
    server.initialise()
    program = replace(server.program(), environ={**os.environ, **clock.environ})
    with running(program) as process:
        await_ready(process, program, lambda: server.is_ready(process.pid))
        yield server.url("postgres")
