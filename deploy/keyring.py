"""The keys of a local stack: a signing key and one API key for each scope, made once."""

from __future__ import annotations

from pathlib import Path
from secrets import token_urlsafe

import msgspec

from deploy.files import write_private


class Keys(msgspec.Struct, frozen=True):
    """One API key for each scope."""

    admin: str
    submit: str
    read: str


def load(folder: Path) -> Keys:
    """Read the keys, making them the first time."""
    path = folder / "keys.json"
    if not path.exists():
        write_private(
            path, msgspec.json.encode(Keys(token_urlsafe(), token_urlsafe(), token_urlsafe())).decode()
        )
    return msgspec.json.decode(path.read_bytes(), type=Keys)
