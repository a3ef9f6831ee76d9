"""What processes cost, from /proc: CPU time and memory, a server's children included."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process and its descendants have used, those that have ended too."""
    ticks = 0
    for each in family(pid):
        fields = _read(f"/proc/{each}/stat").rpartition(")")[2].split()
        if fields:
            ticks += int(fields[11]) + int(fields[12])
            ticks += int(fields[13]) + int(fields[14]) if each == pid else 0
    return ticks / TICK


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its descendants, shared pages counted once (Pss)."""
    total = 0
    for each in family(pid):
        for line in _read(f"/proc/{each}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU seconds of each named process."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
