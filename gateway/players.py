"""Players' own tokens, signed by a studio's identity provider: scope read, and "me"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import msgspec
from jwt.exceptions import PyJWTError

from shared.keys import Key, KeyRefused
from shared.names import is_user_id

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Asymmetric ones only: a public key can never be taken for a shared secret."""

LEEWAY_SECONDS = 10
"""How far the provider's clock may be off."""


class Players:
    """Checks players' tokens.

    Args:
        jwks: the provider's public keys, a local file.
        issuer: what `iss` must be.
        audience: what `aud` must be, or hold.
        claim: the claim that is the player's `user_id`.
        games: the games such tokens are good for; empty for all.

    Raises:
        OSError, ValueError: the JWKS cannot be used.
    """

    def __init__(self, jwks: Path, issuer: str, audience: str, claim: str, games: tuple[str, ...]) -> None:
        self._jwks = jwks
        self._issuer = issuer
        self._audience = audience
        self._claim = claim
        self._games = frozenset(games) or None
        self._keys: dict[str, jwt.PyJWK] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the provider's keys again."""
        try:
            document = msgspec.json.decode(self._jwks.read_bytes(), type=dict[str, Any])
            keys = jwt.PyJWKSet.from_dict(document).keys
        except (msgspec.MsgspecError, PyJWTError) as error:
            raise ValueError(f"{self._jwks} is not a JWKS: {error}") from error
        self._keys = {key.key_id: key for key in keys if key.key_id and key.algorithm_name in ALGORITHMS}

    @property
    def jwks(self) -> Path:
        """The file the keys come from."""
        return self._jwks

    def knows(self, token: str) -> bool:
        """Say whether a token names one of the provider's keys as its signer; nothing is checked."""
        try:
            return jwt.get_unverified_header(token).get("kid") in self._keys
        except (PyJWTError, TypeError):
            return False

    def verify(self, token: str) -> tuple[Key, str]:
        """Return what a player's token allows, and the player's `user_id`.

        Raises:
            KeyRefused: it is not a valid token of the provider's.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise KeyRefused("the token is signed by a key that is not known here")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", self._claim]},
            )
        except PyJWTError as error:
            raise KeyRefused(f"the token is not valid: {type(error).__name__}") from error
        user_id = claims[self._claim]
        if not isinstance(user_id, str) or not is_user_id(user_id):
            raise KeyRefused("the token names no player")
        # The prefix keeps a player apart from a key of ours that happens to have the same name.
        return Key(f"player:{user_id}", "read", self._games, int(claims["exp"])), user_id
