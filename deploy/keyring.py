"""The keys of a local stack: a signing key, its public half for the gateway, an API key for each scope."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deploy.files import write_private
from shared.keys import KeyRefused, SigningKey, verify, write_jwks


class Keys(msgspec.Struct, frozen=True):
    """One API key for each scope, good for every game, without a rate limit."""

    admin: str
    submit: str
    read: str


def load(folder: Path) -> Keys:
    """Read the keys, making them the first time; write the public half for the gateway."""
    signing = _signing_key(folder / "signing.pem")
    write_jwks(folder / "jwks.json", [signing.public])
    path = folder / "keys.json"
    if not path.exists() or not _signed_by(signing, keys := _read(path)):
        keys = Keys(
            signing.mint("admin", key_id="local-admin", unlimited=True),
            signing.mint("submit", key_id="local-submit", unlimited=True),
            signing.mint("read", key_id="local-read", unlimited=True),
        )
        write_private(path, msgspec.json.format(msgspec.json.encode(keys)).decode() + "\n")
    return keys


def _signing_key(path: Path) -> SigningKey:
    if not path.exists():
        SigningKey.generate().write(path)
    return SigningKey.read(path)


def _read(path: Path) -> Keys:
    return msgspec.json.decode(path.read_bytes(), type=Keys)


def _signed_by(signing: SigningKey, keys: Keys) -> bool:
    """Say whether all keys are ours: the signing key may have been changed by hand."""
    try:
        for token in msgspec.structs.astuple(keys):
            verify(token, {signing.kid: signing.public})
    except KeyRefused:
        return False
    return True
