"""The snippets of deploy/CLIENTS.md, run against the stack, each in as much of its engine as it uses.

Unity's and Unreal's parts are stand-ins (tests/snippets); Godot's is Debian's Godot 3, for which the snippet,
written for Godot 4, is put into other words.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

from deploy.reference import SETTINGS
from tests.doors import Service
from tests.stack import Stack

CLIENTS = SETTINGS.parent / "CLIENTS.md"
STANDINS = Path(__file__).parent.parent / "snippets"
WRITTEN = "https://scores.example.com/v1/games/chess"
"""The address in the snippets."""

GODOT_3 = (
    (r"@export var", "export var"),
    (r" -> Variant", ""),
    (r"method: HTTPClient\.Method", "method: int"),
    (r"await (get_tree.*)\.timeout", r'yield(\1, "timeout")'),
    (r"await http\.request_completed", 'yield(http, "request_completed")'),
    (r"return await ", "return "),
    (r"randf_range", "rand_range"),
    (r"headers, method,", "headers, false, method,"),
    (r"JSON\.stringify", "to_json"),
    (r"JSON\.parse_string", "parse_json"),
    (r"\.uri_encode\(\)", ".percent_encode()"),
)
"""What is called otherwise in Godot 3."""

pytestmark = [pytest.mark.slow]


async def output(*command: str | Path, cwd: Path, environ: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd), **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, told.decode()
    return told.decode()


async def unity(code: str, key: str, folder: Path) -> str:
    (folder / "Leaderboard.cs").write_text(code)
    await output("mcs", "-out:play.exe", STANDINS / "unity.cs", "Leaderboard.cs", cwd=folder)
    return await output("mono", "play.exe", key, cwd=folder)


async def godot(code: str, key: str, folder: Path) -> str:
    for pattern, words in GODOT_3:
        code, count = re.subn(pattern, words, code)
        assert count, pattern
    (folder / "board.gd").write_text(code)
    (folder / "project.godot").write_text("config_version=4\n")
    shutil.copy(STANDINS / "main.gd", folder)
    return await output("godot3-server", "-s", "main.gd", cwd=folder, environ={"KEY": key})


async def unreal(code: str, key: str, folder: Path) -> str:
    (folder / "Leaderboard.cpp").write_text(code)
    for header in re.findall(r'#include "(\w+/.*)"', code):
        (folder / header).parent.mkdir(exist_ok=True)
        (folder / header).touch()
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{STANDINS}", f"-I{folder}")
    await output("g++", *flags, "-o", "play", STANDINS / "main.cpp", cwd=folder)
    return await output(folder / "play", key, cwd=folder)


Engine = Callable[[str, str, Path], Any]
ENGINES = [
    pytest.param(
        engine, language, marks=pytest.mark.skipif(missing, reason=f"not here: {tools}"), id=language
    )
    for engine, language, tools in (
        (unity, "csharp", ("mcs", "mono")),
        (godot, "gdscript", ("godot3-server",)),
        (unreal, "cpp", ("g++",)),
    )
    for missing in [not all(map(shutil.which, tools))]
]


def snippet(language: str, url: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", CLIENTS.read_text(), re.DOTALL)
    assert WRITTEN in code
    return str(code).replace(WRITTEN, url)


def answers(told: str) -> Sequence[Any]:
    return [
        json.loads(line.removeprefix("answer: ")) for line in told.splitlines() if line.startswith("answer: ")
    ]


@pytest.mark.parametrize(("engine", "language"), ENGINES)
async def test_a_snippet_submits_and_reads(
    engine: Engine, language: str, stack: Stack, api: httpx.AsyncClient, tmp_path: Path
) -> None:
    game = f"g{token_hex(6)}"
    assert (await api.put(f"/v1/games/{game}", json={})).status_code == 201
    code = snippet(language, f"{stack.url}/v1/games/{game}")
    submitted, top, mine = answers(await engine(code, stack.values["SUBMIT_KEY"], tmp_path))
    assert submitted["results"][0]["entries"][0]["rank"] == 1
    assert [(entry["user_id"], entry["score"]) for entry in top["entries"]] == [("ada", 120)]
    assert mine["entry"]["rank"] == 1


@pytest.mark.parametrize(("engine", "language"), ENGINES)
async def test_a_snippet_sends_a_session_again_with_its_id(
    engine: Engine, language: str, tmp_path: Path
) -> None:
    lost = [b"", b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
        writer.write(lost.pop(0) if lost else good)
        writer.close()

    with Service() as service:
        service.answer = answer
        told = await engine(snippet(language, f"{service.url}/v1/games/g"), "a-key", tmp_path)
    assert answers(told) == [{}, {}, {}]
    posts = [request.partition(b"\r\n\r\n") for request in service.seen if request.startswith(b"POST")]
    assert all(b"authorization: bearer a-key" in head.lower() for head, _, _ in posts)
    assert len(posts) == 3
    assert len({json.loads(body)["session_id"] for _, _, body in posts}) == 1
