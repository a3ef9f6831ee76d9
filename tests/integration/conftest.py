"""What tests of commands share: the `leaderboard` command on the running stack, and a game to use it on."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex

import pytest
from click.testing import CliRunner, Result

from deploy.cli import main
from tests.stack import Stack

Run = Callable[..., Result]


@pytest.fixture
def run(stack: Stack) -> Run:
    """Runs a command against the stack."""
    environ = {"LOCAL_DATA_DIR": str(stack.folder), "COLUMNS": "120"}
    return lambda *words: CliRunner(env=environ).invoke(main, [str(word) for word in words])


@pytest.fixture
def game(run: Run) -> str:
    """A game of this test's own."""
    name = f"g{token_hex(6)}"
    assert run("games", "make", name).exit_code == 0
    return name
