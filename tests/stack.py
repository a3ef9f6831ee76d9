"""The whole leaderboard as it runs for real, seen from outside: `leaderboard up` in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.borrowed import stack
from deploy.embedded import free_ports
from deploy.files import read_env
from tests.support import NO_TLS

OURS = ("GATEWAY_HOST", "LOCAL_POSTGRES_PORT", "LOCAL_REDIS_PORT", "PUBLIC_GAMES")


@dataclass(frozen=True)
class Stack:
    """A running stack; `values` is its local.env as it is now."""

    folder: Path
    score_port: int
    rank_port: int
    internal_port: int = 0

    @property
    def values(self) -> dict[str, str]:
        """What local.env says."""
        return read_env(self.folder / "local.env")

    @property
    def url(self) -> str:
        """Where the gateway is."""
        return self.values["GATEWAY_URL"]

    def pid(self, name: str) -> int:
        """The process id of GATEWAY, SCORE, RANK, POSTGRES or REDIS."""
        return int(self.values[f"{name}_PID"])

    def client(self, key: str | None = "ADMIN_KEY", timeout: float = 15) -> httpx.AsyncClient:
        """Make a client of the gateway: with the key of that name, or with none."""
        headers = {} if key is None else {"authorization": f"Bearer {self.values[key]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=timeout, verify=NO_TLS)


def surroundings() -> dict[str, str]:
    """Return an environment with free ports and no settings of the person who runs the tests."""
    gateway, score, rank, internal = free_ports(4)
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    return {
        **inherited,
        "GATEWAY_PORT": str(gateway),
        "SCORE_PORT": str(score),
        "RANK_PORT": str(rank),
        "GATEWAY_INTERNAL_PORT": str(internal),
    }


@contextmanager
def running_stack(folder: Path, **settings: str) -> Iterator[Stack]:
    """Run a stack in `folder`, with these settings (in upper case), while the block lasts."""
    environ = {**surroundings(), **settings}
    with stack(folder, environ):
        yield Stack(
            folder,
            int(environ["SCORE_PORT"]),
            int(environ["RANK_PORT"]),
            int(environ["GATEWAY_INTERNAL_PORT"]),
        )
