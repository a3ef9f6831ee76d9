"""One local stack laid out: its folder, ports and secrets, and the five programs made of them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploy.client import answers, serves
from deploy.database import DATABASE
from deploy.embedded import Postgres, Valkey
from deploy.files import Secrets
from deploy.ports import Ports
from deploy.processes import HUGE_PAGES, Program
from deploy.settings import LocalSettings
from deploy.supervisor import Child

DEMO = "demo"
"""The game a local stack comes with."""


@dataclass(frozen=True)
class Site:
    """Where everything of a local stack is."""

    settings: LocalSettings
    folder: Path
    ports: Ports
    secrets: Secrets
    sockets: Path | None = None
    """The folder of Unix sockets; None: all speak over TCP."""

    def log(self, name: str) -> Path:
        """Return the log of a program."""
        return self.folder / "logs" / f"{name}.log"

    def socket(self, service: str) -> str:
        """Return the path of a service's socket; empty where there are none."""
        return str(self.sockets / f"{service}.sock") if self.sockets else ""

    @cached_property
    def postgres(self) -> Postgres:
        """The embedded Postgres."""
        folder, port = self.folder / "postgres", self.ports.local_postgres_port
        return Postgres(folder, port, self.secrets.postgres, self.log("postgres"), sockets=self.sockets)

    @cached_property
    def valkey(self) -> Valkey:
        """The embedded Valkey."""
        port = self.ports.local_redis_port
        password = self.secrets.redis
        return Valkey(self.folder / "valkey", port, password, self.log("valkey"), sockets=self.sockets)

    @property
    def database_url(self) -> str:
        """The database, as its owner."""
        return self.postgres.url(DATABASE)

    @property
    def gateway_url(self) -> str:
        """Where the API is, seen from this machine."""
        host = self.settings.gateway_host
        here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        return f"http://{here}:{self.ports.gateway_port}"

    def postgres_child(self) -> Child:
        """Return Postgres as a child."""

        async def ready() -> bool:
            return self.postgres.is_ready(child.pid)

        child = Child(self.postgres.program(), ready, before=self.postgres.clear_away)
        return child

    def valkey_child(self) -> Child:
        """Return Valkey as a child."""

        async def ready() -> bool:
            return self.valkey.is_ready()

        return Child(self.valkey.program(), ready)

    def score_child(self) -> Child:
        """Return score_service as a child."""
        environ = {**self._stores("score_service"), "SCORE_SOCKET": self.socket("score")}
        program = self._service("score_service", environ)
        return Child(program, lambda: serves(self.ports.score_port))

    def rank_child(self) -> Child:
        """Return rank_service as a child."""
        environ = {**self._stores("rank_service"), "RANK_SOCKET": self.socket("rank")}
        program = self._service("rank_service", environ)
        return Child(program, lambda: serves(self.ports.rank_port))

    def gateway_child(self) -> Child:
        """Return the gateway as a child."""
        environ = {
            "SCORE_URL": self._where("score", self.ports.score_port),
            "RANK_URL": self._where("rank", self.ports.rank_port),
            "JWKS_FILE": str(self.folder / "jwks.json"),
            "REVOKED_KEYS_FILE": str(self.folder / "revoked"),
            # A line a request would fill a disk in an afternoon of load tests.
            "ACCESS_LOG": os.environ.get("ACCESS_LOG", "errors"),
            "PUBLIC_GAMES": os.environ.get("PUBLIC_GAMES", DEMO),
        }

        async def ready() -> bool:
            # Its internal port is open a moment before the one that callers use.
            return await serves(self.ports.gateway_internal_port) and await answers(
                self.gateway_url, "/healthz"
            )

        return Child(self._service("gateway", environ), ready)

    def _stores(self, user: str) -> dict[str, str]:
        password = getattr(self.secrets, user)
        return {
            "DATABASE_URL": self.postgres.url(DATABASE, user=user, password=password, here=True),
            "REDIS_URL": self.valkey.url(here=True),
        }

    def _where(self, service: str, port: int) -> str:
        path = self.socket(service)
        return f"unix:{path}" if path else f"http://127.0.0.1:{port}"

    def _service(self, name: str, environ: dict[str, str]) -> Program:
        """Return a service's program; what the person's own environment sets beyond ours holds too."""
        return Program(
            name,
            (sys.executable, "-m", name),
            self.log(name),
            environ={
                # Python's own allocator asks the system for too little at a time for huge pages.
                **HUGE_PAGES,
                "PYTHONMALLOC": "malloc",
                **os.environ,
                "GATEWAY_HOST": self.settings.gateway_host,
                "GATEWAY_PORT": str(self.ports.gateway_port),
                "GATEWAY_INTERNAL_PORT": str(self.ports.gateway_internal_port),
                "SCORE_HOST": "127.0.0.1",
                "SCORE_PORT": str(self.ports.score_port),
                "RANK_HOST": "127.0.0.1",
                "RANK_PORT": str(self.ports.rank_port),
                "DRAIN_SECONDS": "5",
                **environ,
            },
            grace=12.0,
        )
