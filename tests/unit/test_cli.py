"""The `leaderboard` command: keys made, looked at, revoked; mistakes answered with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner, Result

from deploy import keyring
from deploy.cli import main
from shared.keys import read_jwks, read_revoked, verify


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A signing key and the public keys."""
    signing, jwks = tmp_path / "signing.pem", tmp_path / "jwks.json"
    assert run("keys", "new", signing, jwks).exit_code == 0
    return signing, jwks


def test_a_minted_key_allows_what_was_asked_for(made: tuple[Path, Path]) -> None:
    signing, jwks = made
    words = ["--scope", "submit", "--game", "chess", "--id", "ci", "--days", "1"]
    key = verify(run("keys", "mint", *words, "--signing-key", signing).output.strip(), read_jwks(jwks))
    assert (key.key_id, key.scope, key.games, key.unlimited) == ("ci", "submit", frozenset({"chess"}), False)
    assert key.expires_at


def test_a_new_signing_key_joins_the_old_ones(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, jwks = made
    assert "2 public keys" in run("keys", "new", tmp_path / "second.pem", jwks).output
    assert len(read_jwks(jwks)) == 2


def test_a_signing_key_is_never_overwritten(made: tuple[Path, Path]) -> None:
    signing, jwks = made
    before = signing.read_bytes()
    assert "never overwritten" in run("keys", "new", signing, jwks).output
    assert signing.read_bytes() == before


def test_a_key_is_shown_and_checked_when_asked(made: tuple[Path, Path]) -> None:
    signing, jwks = made
    token = run("keys", "mint", "--scope", "read", "--signing-key", signing).output.strip()
    assert json.loads(run("keys", "inspect", token).output)["claims"]["scope"] == "read"
    assert run("keys", "inspect", token, "--jwks", jwks).output.endswith("valid\n")


def test_a_key_of_someone_else_is_not_valid(made: tuple[Path, Path], tmp_path: Path) -> None:
    run("keys", "new", tmp_path / "other.pem", tmp_path / "other.json")
    token = run("keys", "mint", "--scope", "read", "--signing-key", tmp_path / "other.pem").output.strip()
    shown = run("keys", "inspect", token, "--jwks", made[1])
    assert shown.exit_code == 1
    assert "not known here" in shown.output


def test_revoked_keys_are_listed_once(tmp_path: Path) -> None:
    for _ in range(2):
        assert run("keys", "revoke", "ci", "--file", tmp_path / "revoked").exit_code == 0
    assert read_revoked(tmp_path / "revoked") == {"ci"}


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["keys", "mint", "--scope", "read", "--game", "Not A Game"], "well-formed game ids"),
        (["keys", "mint", "--scope", "owner"], "Invalid value for '--scope'"),
        (["keys", "inspect", "nonsense"], "not a token"),
        (["keys", "revoke", "not an id"], "not a key id"),
        (["migrate"], "Missing option '--database-url'"),
        (["migrate", "--database-url", "postgresql://127.0.0.1:1/none"], "onnection"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(
    made: tuple[Path, Path], words: list[str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_DATA_DIR", str(made[0].parent))
    result = run(*words)
    assert result.exit_code != 0
    assert advice in result.output
    assert "Traceback" not in result.output


def test_verify_says_which_store_it_was_not_told(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_DATA_DIR", str(tmp_path))
    for given, missing in (((), "--database-url"), (("--database-url", database_url), "--redis-url")):
        result = run("verify", "demo", "global", *given)
        assert result.exit_code == 2
        assert f"Missing option '{missing}'" in result.output


def test_verify_reads_the_stores_from_secret_files(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, url in (("DATABASE_URL", database_url), ("REDIS_URL", redis_url)):
        (tmp_path / name).write_text(url + "\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    assert "there is no game 'demo'" in run("verify", "demo", "global").output


def test_migrating_says_that_it_is_done(database_url: str) -> None:
    assert "newest schema" in run("migrate", "--database-url", database_url).output


def test_migrating_lets_the_services_in(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(database_url + "\n")
    (tmp_path / "logins").write_text('{"rank_service": "a secret"}')
    files = ("--database-url-file", tmp_path / "url", "--logins", tmp_path / "logins")
    assert run("migrate", *files).exit_code == 0
    theirs = urlsplit(database_url)._replace(netloc=f"rank_service:a%20secret@{at(database_url)}").geturl()
    with psycopg.connect(theirs) as connection:
        assert connection.execute("SELECT count(*) FROM games").fetchone() == (0,)


def at(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def test_nobody_else_is_let_in(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "logins").write_text('{"postgres": "a secret"}')
    result = run("migrate", "--database-url", database_url, "--logins", tmp_path / "logins")
    assert "no service logs in as postgres" in result.output


def test_local_keys_are_made_once_and_anew_for_another_signing_key(tmp_path: Path) -> None:
    first = keyring.load(tmp_path)
    assert keyring.load(tmp_path) == first
    (tmp_path / "signing.pem").unlink()
    assert keyring.load(tmp_path) != first
    assert verify(keyring.load(tmp_path).admin, read_jwks(tmp_path / "jwks.json")).unlimited
