"""Who is asking: keys checked offline, and what was found remembered for a bounded time."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.players import Players
from gateway.rules import is_key_scheme
from shared.errors import LeaderboardError
from shared.keys import LEVELS, MAX_TOKEN_CHARS, Key, KeyRefused, read_jwks, read_revoked, verify

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Keys that are remembered; past it all are forgotten, which costs one check each."""


def refused() -> LeaderboardError:
    """Build the 401."""
    return LeaderboardError("unauthorized", "send a valid key: Authorization: Bearer <key>")


class Grant:
    """A valid key as the hot path needs it: compared by level, rendered once."""

    __slots__ = ("expires_at", "key", "level", "lines", "player")

    def __init__(self, key: Key, player: str | None = None) -> None:
        self.key = key
        self.player = player
        self.level = LEVELS[key.scope]
        self.expires_at = key.expires_at if key.expires_at is not None else float("inf")
        self.lines = b"x-key-id: %b\r\nx-scope: %b\r\n" % (key.key_id.encode(), key.scope.encode())


class Keyring:
    """Checks `Authorization` headers against the public keys and the list of revoked ids.

    Args:
        jwks: a JWKS file. It and `revoked` are read again when they change; `refresh` is called
            every second or so, and that bounds how long a revoked key goes on working.
        revoked: ids of revoked keys, one a line; None for none.
        players: checks the tokens of an identity provider; None when there is none.

    Raises:
        OSError, ValueError: at once, when the JWKS cannot be used.
    """

    def __init__(self, jwks: Path, revoked: Path | None, players: Players | None = None) -> None:
        self._jwks = jwks
        self._players = players
        self._revoked_file = revoked
        self._stamps = self._seen()
        self._public: dict[str, Ed25519PublicKey] = read_jwks(jwks)
        self._revoked = read_revoked(revoked) if revoked else frozenset()
        self._known: dict[bytes, Grant] = {}

    def remembers(self, header: bytes) -> bool:
        """Say whether a header can be judged without computing a signature."""
        return header in self._known

    def grant(self, header: bytes) -> Grant:
        """Return what an `Authorization` header allows.

        Raises:
            LeaderboardError: 401 when it is not a valid key.
        """
        grant = self._known.get(header) or self._check(header)
        if grant.expires_at <= time.time():
            raise refused()
        return grant

    def _check(self, header: bytes) -> Grant:
        token = is_key_scheme(header)
        if token is None:
            raise refused()
        try:
            grant = self._verify(token[1].decode())
        except KeyRefused as error:
            log.debug("a key was refused", extra={"reason": str(error)})
            raise refused() from error
        if grant.key.key_id in self._revoked:
            raise refused()
        # Only good keys are remembered: what is not a key must not push them out.
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[header] = grant
        return grant

    def _verify(self, token: str) -> Grant:
        if len(token) > MAX_TOKEN_CHARS:
            raise KeyRefused("the token is too long")
        # Whose signature it is said to be decides who checks it; a lie only finds the wrong key.
        if self._players is not None and self._players.knows(token):
            return Grant(*self._players.verify(token))
        return Grant(verify(token, self._public))

    async def refresh(self) -> None:
        """Read the files again if they changed; a file that cannot be used leaves the old keys valid."""
        stamps = self._seen()
        if stamps == self._stamps:
            return
        self._public = read_jwks(self._jwks)
        self._revoked = read_revoked(self._revoked_file) if self._revoked_file else frozenset()
        if self._players is not None:
            self._players.refresh()
        self._known.clear()
        self._stamps = stamps

    def _seen(self) -> list[tuple[int, int, int] | None]:
        theirs = self._players.jwks if self._players is not None else None
        return [_stamp(path) for path in (self._jwks, self._revoked_file, theirs) if path is not None]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
