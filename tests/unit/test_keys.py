"""Signed keys: what is minted is what is found, and nothing else is believed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from shared.keys import (
    AUDIENCE,
    ISSUER,
    Key,
    KeyRefused,
    SigningKey,
    inspect,
    read_jwks,
    read_revoked,
    revoke,
    thumbprint,
    verify,
    write_jwks,
)


@pytest.fixture(scope="module")
def signer() -> SigningKey:
    return SigningKey.generate()


def public_of(*signers: SigningKey) -> dict[str, Any]:
    return {signer.kid: signer.public for signer in signers}


def forged(signer: SigningKey, change: dict[str, Any]) -> str:
    """A token signed with the right key whose claims are wrong; a change to None drops the claim."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "jti": "k", "scope": "read", "games": "*"} | change
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, signer._private, "EdDSA", headers={"kid": signer.kid})


def test_what_is_minted_is_what_is_found(signer: SigningKey) -> None:
    token = signer.mint("submit", games=["b", "a"], key_id="server-1", unlimited=True)
    assert verify(token, public_of(signer)) == Key("server-1", "submit", frozenset("ab"), None, True)


def test_a_key_for_all_games_has_a_random_id_and_may_expire(signer: SigningKey) -> None:
    first = verify(signer.mint("read", expires_in=60), public_of(signer))
    second = verify(signer.mint("read"), public_of(signer))
    assert first.games is None
    assert first.key_id != second.key_id
    assert first.expires_at is not None
    assert second.expires_at is None


@pytest.mark.parametrize(("held", "allowed"), [("read", 1), ("submit", 2), ("admin", 3)])
def test_each_scope_includes_the_ones_before_it(held: Any, allowed: int) -> None:
    key = Key("k", held)
    assert [key.may(scope) for scope in ("read", "submit", "admin")] == [n < allowed for n in range(3)]


def test_a_key_plays_only_its_games() -> None:
    assert Key("k", "read").plays("anything")
    assert Key("k", "read", frozenset({"a"})).plays("a")
    assert not Key("k", "read", frozenset({"a"})).plays("b")


def test_after_a_rotation_both_keys_are_good_until_the_old_one_is_dropped(signer: SigningKey) -> None:
    new = SigningKey.generate()
    old_token, new_token = signer.mint("read", key_id="old"), new.mint("read", key_id="new")
    both = public_of(signer, new)
    assert [verify(token, both).key_id for token in (old_token, new_token)] == ["old", "new"]
    with pytest.raises(KeyRefused):
        verify(old_token, public_of(new))


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1},
        {"iss": "someone"},
        {"aud": "something"},
        {"iss": None},
        {"aud": None},
        {"jti": None},
        {"iat": None},
        {"scope": "root"},
        {"scope": None},
        {"games": "demo"},
        {"games": None},
        {"jti": "a\r\nx-scope: admin"},
        {"jti": ""},
        {"iat": 2**40},
    ],
    ids=str,
)
def test_wrong_claims_are_refused_though_well_signed(signer: SigningKey, change: dict[str, Any]) -> None:
    with pytest.raises(KeyRefused):
        verify(forged(signer, change), public_of(signer))


def test_unsigned_and_symmetric_tokens_are_refused(signer: SigningKey) -> None:
    claims = inspect(signer.mint("admin"))["claims"]
    headers = {"kid": signer.kid}
    raw = signer.public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    unsigned = jwt.encode(claims, "", "none", headers=headers)
    confused = jwt.encode(claims, raw, "HS256", headers=headers)
    for token in (unsigned, confused):
        with pytest.raises(KeyRefused):
            verify(token, public_of(signer))


def test_another_signature_under_a_known_kid_is_refused(signer: SigningKey) -> None:
    other = SigningKey.generate()
    other.kid = signer.kid
    with pytest.raises(KeyRefused):
        verify(other.mint("admin"), public_of(signer))


@pytest.mark.parametrize("token", ["", "a.b.c", "a" * 5000, "é.é.é", "...", "eyJhbGciOiJFZERTQSJ9.e30.AA"])
def test_what_is_no_token_is_refused(signer: SigningKey, token: str) -> None:
    with pytest.raises(KeyRefused):
        verify(token, public_of(signer))


def test_a_refusal_never_quotes_the_token(signer: SigningKey) -> None:
    token = signer.mint("admin")[:-4] + "AAAA"
    with pytest.raises(KeyRefused) as refusal:
        verify(token, public_of(signer))
    assert token[:20] not in str(refusal.value)


def test_a_private_key_survives_its_file_and_only_its_owner_reads_it(
    signer: SigningKey, tmp_path: Path
) -> None:
    path = tmp_path / "signing.pem"
    signer.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.read(path).kid == signer.kid
    with pytest.raises(FileExistsError):
        signer.write(path)


def test_public_keys_survive_their_file(signer: SigningKey, tmp_path: Path) -> None:
    other = SigningKey.generate()
    write_jwks(tmp_path / "jwks.json", [signer.public, other.public])
    keys = read_jwks(tmp_path / "jwks.json")
    assert set(keys) == {signer.kid, other.kid}
    assert verify(other.mint("read", key_id="k"), keys).key_id == "k"
    assert b'"d"' not in (tmp_path / "jwks.json").read_bytes()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"keys":[{}]}', '{"keys":[{"kty":"oct","k":"AA","kid":"a"}]}']
)
def test_a_file_that_is_no_jwks_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(content)
    with pytest.raises(ValueError, match=r"jwks\.json"):
        read_jwks(tmp_path / "jwks.json")


def test_a_file_that_is_no_private_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ValueError, match=r"key\.pem"):
        SigningKey.read(tmp_path / "key.pem")


def test_the_kid_is_the_thumbprint_of_rfc_8037() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    public = jwt.algorithms.OKPAlgorithm.from_jwk(jwk)
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # type: ignore[arg-type]


def test_revoked_ids_are_added_once_and_comments_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    assert read_revoked(path) == frozenset()
    path.write_text("# stolen laptop\nserver-1  # in May")
    for _ in range(2):
        revoke(path, "server-2")
    assert read_revoked(path) == {"server-1", "server-2"}
    assert path.read_text().count("server-2") == 1
    with pytest.raises(ValueError, match="key id"):
        revoke(path, "two\nlines")


@pytest.mark.parametrize("wrong", [{"games": []}, {"games": ["Bad Game"]}, {"key_id": "two words"}], ids=str)
def test_a_key_that_makes_no_sense_is_not_minted(signer: SigningKey, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"game|key id"):
        signer.mint("read", **wrong)
