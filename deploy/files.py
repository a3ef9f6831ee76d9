"""The files of a local data directory: its lock, its secrets, the environment it publishes."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

import msgspec


class InUse(Exception):
    """Another process uses this data directory."""


class Secrets(msgspec.Struct, frozen=True):
    """Passwords of the local servers, made once per data directory."""

    postgres: str = msgspec.field(default_factory=token_urlsafe)
    score_service: str = msgspec.field(default_factory=token_urlsafe)
    rank_service: str = msgspec.field(default_factory=token_urlsafe)
    redis: str = msgspec.field(default_factory=token_urlsafe)


def write_private(path: Path, text: str) -> None:
    """Write a file only we can read, whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def load_secrets(path: Path) -> Secrets:
    """Read the secrets, making them the first time."""
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=Secrets)
    secrets = Secrets()
    write_private(path, msgspec.json.format(msgspec.json.encode(secrets)).decode() + "\n")
    return secrets


def make_private(folder: Path) -> None:
    """Make a folder that only we may enter, without what an earlier run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


@contextmanager
def locked(folder: Path) -> Iterator[dict[str, str]]:
    """Make a data directory and hold it; yield the local.env that a killed run left there.

    Raises:
        InUse: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = holder_of(folder)
            raise InUse(
                f"{folder} is in use by the process {holder}: stop it, or choose another LOCAL_DATA_DIR"
            ) from None
        left = read_env(folder / "local.env")
        # Before our id is known: no one must take the old one's word for ours.
        (folder / "local.env").unlink(missing_ok=True)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield left


def holder_of(folder: Path) -> int:
    """Return the process that holds, or was the last to hold, a data directory; 0 when none ever did."""
    try:
        return int((folder / "lock").read_text())
    except (FileNotFoundError, ValueError):
        return 0


def write_env(path: Path, values: Mapping[str, object]) -> None:
    """Publish values as NAME=value lines."""
    write_private(path, "".join(f"{name}={value}\n" for name, value in values.items()))


def read_env(path: Path) -> dict[str, str]:
    """Read NAME=value lines; nothing when there is no such file."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)
