"""Signed keys: who may call, what for, in which games. Minted offline, checked offline.

A key is a JWT signed with Ed25519 (`EdDSA`, RFC 8037) by the studio's private key. Whoever holds the
public keys (a JWKS file) can check it; nobody needs a database to do so. Several public keys may be
valid at once, told apart by `kid`, so the signing key can be rotated. Claims:

    iss, aud   "gaming-leaderboard"
    jti        the key's id: what logs name and what a revocation lists
    scope      read, submit or admin; each includes the ones before it
    games      a list of games, or "*" for all
    iat, exp   when it was minted, and when it ends (`exp` may be absent)
    unlimited  true: carries no rate limit (the keys of the local stack)
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_encode

from shared.names import is_slug

Scope = Literal["read", "submit", "admin"]
LEVELS: dict[str, int] = {scope: level for level, scope in enumerate(get_args(Scope))}
"""Scopes in order: a higher level includes the lower ones."""

ALGORITHM = "EdDSA"
ISSUER = "gaming-leaderboard"
AUDIENCE = "gaming-leaderboard"
MAX_TOKEN_CHARS = 4096
"""A longer token is refused before anything is computed over it."""

PublicKeys = Mapping[str, Ed25519PublicKey]

is_key_id = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z").match


class KeyRefused(Exception):
    """A token is not a valid key of ours; the message says why and never quotes the token."""


class Key(msgspec.Struct, frozen=True):
    """What a valid key allows; `games` None means all, `expires_at` is in Unix seconds."""

    key_id: str
    scope: Scope
    games: frozenset[str] | None = None
    expires_at: int | None = None
    unlimited: bool = False

    def may(self, scope: Scope) -> bool:
        """Say whether this key includes `scope`."""
        return LEVELS[self.scope] >= LEVELS[scope]

    def plays(self, game: str) -> bool:
        """Say whether this key is good for `game`."""
        return self.games is None or game in self.games


class Claims(msgspec.Struct):
    """The claims that are ours, as they must look; PyJWT checks the registered ones."""

    jti: str
    scope: Scope
    games: list[str] | Literal["*"]
    exp: int | None = None
    unlimited: bool = False


class SigningKey:
    """The private half: mints keys. `kid` is the thumbprint of the public half (RFC 7638)."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.kid = thumbprint(private.public_key())

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key pair."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a private key in PEM form.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no Ed25519 private key.
        """
        pem = path.read_bytes()
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:  # TypeError: it is encrypted
            raise ValueError(f"{path} holds no private key in plain PEM") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError(f"{path} holds no Ed25519 private key")  # noqa: TRY004  a wrong value, not type
        return cls(private)

    def write(self, path: Path) -> None:
        """Write the private key as PEM, readable by its owner only.

        Raises:
            FileExistsError: a private key is never overwritten.
        """
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)

    @property
    def public(self) -> Ed25519PublicKey:
        """The public half."""
        return self._private.public_key()

    def mint(
        self,
        scope: Scope,
        *,
        games: Collection[str] | Literal["*"] = "*",
        key_id: str | None = None,
        expires_in: int | None = None,
        unlimited: bool = False,
    ) -> str:
        """Sign a key and return its token.

        Args:
            scope: the highest scope it includes.
            games: the games it is good for.
            key_id: a name for logs and revocation; a random one by default.
            expires_in: seconds until it ends; never by default.
            unlimited: whether it is exempt from rate limits.

        Raises:
            ValueError: a game or the id is not well-formed, or there is no game at all.
        """
        chosen = key_id if key_id is not None else str(uuid4())
        if not is_key_id(chosen):
            raise ValueError(f"not a key id: {chosen!r}")
        if games != "*" and (not games or not all(is_slug(game) for game in games)):
            raise ValueError("games must be '*' or well-formed game ids")
        now = int(time.time())
        claims: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "jti": chosen, "scope": scope}
        claims["games"] = "*" if games == "*" else sorted(games)
        if expires_in is not None:
            claims["exp"] = now + expires_in
        if unlimited:
            claims["unlimited"] = True
        return jwt.encode(claims, self._private, ALGORITHM, headers={"kid": self.kid})


def thumbprint(public: Ed25519PublicKey) -> str:
    """Return the JWK thumbprint (RFC 7638, RFC 8037) of a public key: a stable `kid`."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    canonical = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % base64url_encode(raw)
    return base64url_encode(hashlib.sha256(canonical).digest()).decode()


def verify(token: str, keys: PublicKeys) -> Key:
    """Check a token against the public keys and return what it allows.

    The algorithm is fixed: what the token's header claims is never believed. Revocation is the
    caller's to check, by `key_id`.

    Raises:
        KeyRefused: it is malformed, not signed by one of `keys`, expired, or not for us.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise KeyRefused("the token is too long")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        public = keys.get(kid) if isinstance(kid, str) else None
        if public is None:
            raise KeyRefused("the token is signed by a key that is not known here")
        payload = jwt.decode(
            token,
            public,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["iss", "aud", "iat", "jti"]},
        )
        claims = msgspec.convert(payload, Claims)
    except PyJWTError as error:
        raise KeyRefused(f"the token is not valid: {type(error).__name__}") from error
    except msgspec.ValidationError as error:
        raise KeyRefused("the token's claims are not those of a key") from error
    if not is_key_id(claims.jti):
        raise KeyRefused("the token's id is not well-formed")
    games = None if claims.games == "*" else frozenset(claims.games)
    return Key(claims.jti, claims.scope, games, claims.exp, claims.unlimited)


def inspect(token: str) -> dict[str, Any]:
    """Return a token's header and claims *without checking anything*, for people to look at.

    Raises:
        KeyRefused: it is not a JWT at all.
    """
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except PyJWTError as error:
        raise KeyRefused("this is not a token") from error
    return {"header": parts["header"], "claims": parts["payload"]}


def write_jwks(path: Path, keys: Iterable[Ed25519PublicKey]) -> None:
    """Write public keys as a JWKS file, replacing it in one step (readers see the old or the new)."""
    entries = []
    for public in keys:
        entry = OKPAlgorithm.to_jwk(public, as_dict=True)
        entries.append({**entry, "kid": thumbprint(public), "alg": ALGORITHM, "use": "sig"})
    replace(path, msgspec.json.format(msgspec.json.encode({"keys": entries})) + b"\n")


def read_jwks(path: Path) -> dict[str, Ed25519PublicKey]:
    """Read the public keys of a JWKS file, by `kid`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a JWKS, or holds a key that is not an Ed25519 public key with a `kid`.
    """
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, list[dict[str, Any]]])
        keys: dict[str, Ed25519PublicKey] = {}
        for entry in document["keys"]:
            public = OKPAlgorithm.from_jwk(entry)
            if not isinstance(public, Ed25519PublicKey):
                raise ValueError(f"{path} holds a key that is not an Ed25519 public key")  # noqa: TRY004
            keys[entry["kid"]] = public
    except (msgspec.MsgspecError, PyJWTError, KeyError) as error:
        raise ValueError(f"{path} is not a JWKS of Ed25519 public keys with a kid: {error}") from error
    return keys


def read_revoked(path: Path) -> frozenset[str]:
    """Read the ids of revoked keys: one a line, `#` starts a comment; no file means none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return frozenset()
    return frozenset(word for line in lines if (word := line.partition("#")[0].strip()))


def revoke(path: Path, key_id: str) -> None:
    """Add a key's id to the file of revoked ones.

    Raises:
        ValueError: the id is not well-formed.
    """
    if not is_key_id(key_id):
        raise ValueError(f"not a key id: {key_id!r}")
    revoked = read_revoked(path)
    if key_id not in revoked:
        old = path.read_bytes() if path.exists() else b""
        replace(path, old + (b"" if old.endswith(b"\n") or not old else b"\n") + key_id.encode() + b"\n")


def replace(path: Path, content: bytes) -> None:
    """Replace a file's content in one step: a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
