"""The JavaScript client against the real stack, run by Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

from tests.stack import Stack

CLIENT = Path(__file__).parent.parent.parent / "gateway" / "web" / "client.js"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")


def run(stack: Stack, script: str, key: str = "SUBMIT_KEY") -> Any:
    """Run a script in which `api` is a client; return what it gives to `answer`."""
    values = stack.values
    text = f"""
import {{ Leaderboard, Refused, Away, sessionId }} from {json.dumps(CLIENT.as_uri())};
const api = new Leaderboard({json.dumps(values["GATEWAY_URL"])}, {{ key: {json.dumps(values[key])} }});
const answer = (value) => console.log(JSON.stringify(value));
{script}
process.exit(0);
"""
    command = ["node", "--no-warnings", "--input-type=module", "-"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
async def game(api: httpx.AsyncClient) -> str:
    name = f"g{token_hex(6)}"
    assert (await api.put(f"/v1/games/{name}", json={})).status_code == 201
    return name


def test_a_session_counts_once(stack: Stack, game: str) -> None:
    found = run(
        stack,
        f"""
const session_id = sessionId();
for (let i = 0; i < 2; i++) await api.submit("{game}", {{ ada: 5, bob: 3 }}, {{ session_id }});
answer([await api.top("{game}", "global"), await api.lookup("{game}", "global", ["ada", "zoe"])]);
""",
    )
    assert [(e["user_id"], e["score"], e["rank"]) for e in found[0]["entries"]] == [
        ("ada", 5, 1),
        ("bob", 3, 2),
    ]
    assert found[1]["missing"] == ["zoe"]


def test_a_refusal_has_its_code(stack: Stack, game: str) -> None:
    script = f'await api.entry("{game}", "global", "nobody").catch((e) => answer([e.status, e.code]));'
    assert run(stack, script) == [404, "entry_not_found"]


def test_changes_are_heard(stack: Stack, game: str) -> None:
    script = f"""
await api.submit("{game}", {{ ada: 1 }});
const seen = [];
for await (const event of api.events("{game}", "global")) {{
  if (event.name !== "top") continue;
  seen.push(event.data.entries[0].score);
  if (seen.at(-1) === 3) break;
  if (seen.length === 1) await api.submit("{game}", {{ ada: 2 }});
}}
answer(seen);
"""
    assert run(stack, script) == [1, 3]


def test_it_gives_up_in_time(stack: Stack) -> None:
    script = """
const nobody = new Leaderboard("http://127.0.0.1:1", { attempts: 2 });
await nobody.top("x", "y").catch((error) => answer(error instanceof Away));
"""
    assert run(stack, script) is True


def test_a_stream_that_falls_silent_is_given_up(stack: Stack) -> None:
    script = """
import { createServer } from "node:http";
const event = 'event: top\\ndata: {"total":1}\\n\\n';
const server = createServer((_, reply) => reply.write(event)).listen(0, "127.0.0.1");
await new Promise((done) => server.on("listening", done));
const quiet = new Leaderboard(`http://127.0.0.1:${server.address().port}`, { attempts: 1, silence: 50 });
const seen = [];
try {
  for await (const event of quiet.events("x", "y")) seen.push(event.data.total);
} catch (error) {
  answer([seen, error instanceof Away, error.code]);
}
"""
    assert run(stack, script) == [[1], True, "offline"]


def test_a_call_that_may_be_lost_is_made_again_with_the_same_session_id(stack: Stack) -> None:
    script = """
import { createServer } from "node:http";
const ids = [];
const server = createServer(async (request, reply) => {
  let body = "";
  for await (const piece of request) body += piece;
  ids.push(JSON.parse(body).session_id);
  if (ids.length === 1) request.socket.destroy();
  else reply.writeHead(ids.length === 2 ? 503 : 201).end();
}).listen(0, "127.0.0.1");
await new Promise((done) => server.on("listening", done));
await new Leaderboard(`http://127.0.0.1:${server.address().port}`).submit("x", { ada: 1 });
answer([ids.length, new Set(ids).size]);
"""
    assert run(stack, script) == [3, 1]
