"""Backup, restore and doctor: what was dumped is what is restored; what is wrong is said, with advice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from deploy.backup import manifest
from deploy.cli import main
from deploy.doctor import clock, settings
from tests.stack import Stack


def run(*words: str | Path, environ: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"LOCAL_DATA_DIR": "nowhere", **(environ or {})}).invoke(main, [*map(str, words)])


@pytest.fixture
def dumped(database_url: str, tmp_path: Path) -> Path:
    """A backup of a database with two games."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO games (game) VALUES ('chess'), ('go')")
    result = run("backup", tmp_path / "b.dump", "--database-url", database_url)
    assert "2 games" in result.output
    return tmp_path / "b.dump"


def test_what_was_dumped_is_restored_and_proved(dumped: Path, empty_database_url: str) -> None:
    result = run("restore", dumped, "--database-url", empty_database_url)
    assert "restored and proved: " in result.output
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM games").fetchone() == (2,)
    assert "newest schema" in run("migrate", "--database-url", empty_database_url).output


def test_a_backup_that_lacks_a_row_is_not_believed(dumped: Path, empty_database_url: str) -> None:
    manifest(dumped).write_text(manifest(dumped).read_text().replace('"rows": 2', '"rows": 3'))
    result = run("restore", dumped, "--database-url", empty_database_url)
    assert result.exit_code == 1
    assert "not what was dumped: games" in result.output


def test_nothing_is_restored_over_something(dumped: Path, database_url: str) -> None:
    assert "not empty" in run("restore", dumped, "--database-url", database_url).output


def test_the_doctor_finds_a_local_stack_well(stack: Stack) -> None:
    result = run("doctor", "--json", environ={"LOCAL_DATA_DIR": str(stack.folder)})
    found = {each["what"]: each for each in json.loads(result.output)["findings"]}
    assert {name for name, each in found.items() if each["verdict"] == "wrong"} == set()
    assert {"postgres", "schema", "durability", "redis", "services", "lag of the index"} <= found.keys()


def test_the_doctor_says_what_to_do(empty_database_url: str) -> None:
    words = ("--redis-url", "redis://127.0.0.1:1", "--url", "http://127.0.0.1:1", "--json")
    result = run("doctor", "--database-url", empty_database_url, *words)
    assert result.exit_code == 1
    wrong = {e["what"]: e["advice"] for e in json.loads(result.output)["findings"] if e["verdict"] == "wrong"}
    assert {"schema", "redis", "services"} <= wrong.keys()
    assert "leaderboard migrate" in wrong["schema"]
    assert all(wrong.values())


def test_all_faults_of_settings_are_told() -> None:
    found = {each.what: each for each in settings({"GATEWAY_PORT": "x", "SCORE_POOL_SIZE": "1"})}
    assert "GATEWAY_PORT" in found["settings of gateway"].seen
    assert "SCORE_POOL_SIZE" in found["settings of score_service"].seen
    assert found["settings of rank_service"].verdict == "unknown"


def test_a_clock_that_is_off_is_wrong() -> None:
    assert clock("x", datetime.now(UTC)).verdict == "well"
    assert clock("x", datetime.now(UTC) - timedelta(seconds=5)).verdict == "wrong"
