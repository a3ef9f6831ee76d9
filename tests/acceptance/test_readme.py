"""The README's commands do what it says they do."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.stack import running_stack

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
TIMES = {"played_at", "as_of"}


class Step(NamedTuple):
    """A command as a person would type it, and what the README says it prints."""

    command: str
    output: str


def steps(text: str) -> list[Step]:
    """Find every command in the `console` blocks of a document."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            last = next(i for i, line in enumerate(lines) if not goes_on("\n".join(lines[: i + 1])))
            found.append(Step("\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])))
    return found


def goes_on(command: str) -> bool:
    """Say whether the shell would wait for more."""
    return command.endswith("\\") or command.count("'") % 2 == 1


def without_times(value: Any) -> Any:
    """Blank out what differs each time."""
    if isinstance(value, dict):
        return {key: "..." if key in TIMES else without_times(each) for key, each in value.items()}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_the_requests_print_what_the_readme_shows(tmp_path: Path) -> None:
    with running_stack(tmp_path / ".local"):
        before = ""
        for step in steps(README.read_text()):
            if step.command.startswith(". "):
                before += step.command + "\n"
            elif step.command.startswith("curl"):
                done = subprocess.run(
                    ["sh", "-c", before + step.command],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=True,
                )
                assert without_times(json.loads(done.stdout)) == without_times(json.loads(step.output))


def test_every_make_command_is_a_door() -> None:
    doors = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step.command.split() for step in steps(README.read_text()) if step.command.startswith("make")]
    assert {command[1] for command in commands} <= doors
    assert ["make", "run"] in commands
    assert ["make", "test"] in commands


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_commands_are_told_from_their_output() -> None:
    text = "```console\n$ one \\\n  more\nout\n$ two 'a\n b'\n```\n"
    assert steps(text) == [Step("one \\\n  more", "out"), Step("two 'a\n b'", "")]
