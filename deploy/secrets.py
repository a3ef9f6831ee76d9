"""The secrets of a deployment: a folder for each who reads them, and in it only what that one needs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from typing import NamedTuple

import msgspec

from deploy import keyring
from deploy.database import DATABASE
from deploy.files import write_private


class Hosts(NamedTuple):
    """Where the stores will be."""

    postgres: str
    redis: str


OWNER = "leaderboard"
"""The role that owns the database; services have logins of their own."""


def make(folder: Path, hosts: Hosts) -> list[str]:
    """Make what is missing; return its names.

    The order matters: a password is made before the URLs that hold it, so that a run that was cut short
    is completed by the next one.
    """
    made: list[str] = []

    def secret(name: str, text: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(path, text() + "\n")
            made.append(name)
        return path.read_text().strip()

    def database(user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@{hosts.postgres}:5432/{DATABASE}"

    owner = secret("postgres/password", token_urlsafe)
    secret("admin/database_url", lambda: database(OWNER, owner))
    logins = secret("admin/logins.json", _logins)
    passwords = msgspec.json.decode(logins, type=dict[str, str])
    secret("score/database_url", lambda: database("score_service", passwords["score_service"]))
    secret("rank/database_url", lambda: database("rank_service", passwords["rank_service"]))
    redis = secret("admin/redis_password", token_urlsafe)
    secret("valkey/valkey.conf", lambda: f"requirepass {redis}")
    secret("score/webhook_secret", lambda: f"whsec_{b64encode(token_bytes(32)).decode()}")
    for reader in ("score", "rank", "admin"):
        secret(f"{reader}/redis_url", lambda: f"redis://default:{redis}@{hosts.redis}:6379/0")
    if not (folder / "admin" / "signing.pem").exists():
        made.append("admin/signing.pem")
    keyring.load(folder / "admin")
    # Made once: later keys are added to it (`keys new`), and a start must not take them out again.
    secret("gateway/jwks.json", (folder / "admin" / "jwks.json").read_text)
    (folder / "gateway" / "revoked").touch(mode=0o600)
    return made


def _logins() -> str:
    made = {"score_service": token_urlsafe(), "rank_service": token_urlsafe()}
    return msgspec.json.encode(made).decode()
