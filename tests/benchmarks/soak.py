"""Memory under load: `python -m tests.benchmarks.soak [SECONDS]` plays, and tells what processes hold."""

from __future__ import annotations

import asyncio
import random
import re
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.faults.crowd import Crowd
from tests.stack import Stack, running_stack
from tests.support import wait_until

NAMES = ("GATEWAY", "SCORE", "RANK", "REDIS")
EVERY = 15.0
"""Seconds between two looks."""


def megabytes(pid: int) -> float:
    """Return what a process holds in memory."""
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024


async def soak(stack: Stack, seconds: float, console: Console) -> None:
    """Play for so long; look at memory now and then."""
    pids = {name: stack.pid(name) for name in NAMES}
    async with stack.client() as api:
        crowd = Crowd(api, random.Random(0))
        await crowd.prepare()
        began = time.monotonic()
        async with crowd.playing():
            while (now := time.monotonic() - began) < seconds:
                held = "  ".join(f"{name.lower()} {megabytes(pid):6.1f} MB" for name, pid in pids.items())
                console.print(f"{now:5.0f} s  {crowd.statuses.total():7} calls  {held}")
                seen = crowd.statuses.total()
                await wait_until(partial(is_time, began + now + EVERY), timeout=4 * EVERY)
                assert crowd.statuses.total() > seen, "nobody is answered"
        console.print(f"{dict(crowd.statuses)}, wrong: {crowd.wrong[:3]}")


def is_time(moment: float) -> bool:
    """Say whether a moment has come."""
    return time.monotonic() >= moment


def main() -> None:
    """Start everything, play, throw everything away."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder)) as stack:
        asyncio.run(soak(stack, seconds, Console()))


if __name__ == "__main__":
    main()
