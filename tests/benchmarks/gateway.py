"""What the gateway costs beside `hello` and nginx: `python -m tests.benchmarks.gateway [seconds] [rounds]`.

The gateway and nginx (one process each) proxy the same upstream, which answers ten constant entries;
`hello` is Starlette on uvicorn answering them itself. `board` is the gateway of a whole stack, `board nginx`
is nginx before that stack's rank_service, over the same Unix socket: the top of a real board, for which the
gateway checks a key besides and shares a connection. Rounds are interleaved, figures are medians; CPU is the
proxy's own (of a board: with rank_service's), from /proc, and is what to look at where other things run
beside. Needs wrk; nginx is left out where it is not installed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import orjson

from deploy.embedded import free_ports
from tests.doors import TOP, answers, running_gateway, wait_for
from tests.stack import Stack, running_stack

ENTRY = {"user_id": "player-1", "display_name": "Player", "country": "GB", "score": 900_000, "ties": 1}
PAGE = orjson.dumps({"leaderboard": "global", "entries": [{"rank": i, **ENTRY} for i in range(1, 11)]})
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(PAGE),
    PAGE,
)
TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 32

NGINX = """
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 100000000;
  upstream rank {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://rank; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class Constant(asyncio.Protocol):
    """A service that answers every request alike; requests are counted by their blank lines."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER * data.count(b"\r\n\r\n"))  # type: ignore[attr-defined]


async def constant(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


def hello(port: int) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    page = orjson.loads(PAGE)

    async def answer(_: Request) -> Response:
        return Response(orjson.dumps(page), media_type="application/json")

    app = Starlette(routes=[Route(TOP, answer)])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


class Subject(NamedTuple):
    """Something that answers, and the processes whose time it takes."""

    port: int
    pids: list[int]
    key: str


class Figure(NamedTuple):
    """What one round showed."""

    rate: float
    cpu: float
    """Microseconds a request."""


def spent(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICK


def measure(subject: Subject, seconds: float) -> Figure:
    before = spent(subject.pids)
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-H",
        f"Authorization: Bearer {subject.key}",
    ]
    url = f"http://127.0.0.1:{subject.port}{TOP}?limit=10"
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in said, said
    found = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec: +([\d.]+)", said)
    assert found[0], said
    assert found[1], said
    return Figure(float(found[1][1]), (spent(subject.pids) - before) / int(found[0][1]) * 1e6)


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command)
    try:
        wait_for(lambda: answers(port))
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def own(role: str, port: int) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.gateway", role, str(port)]


def nginx(stack: ExitStack, folder: Path, upstream: str) -> tuple[int, list[int]] | None:
    """Start nginx before an upstream; return its port and processes, None where it is not installed."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        return None
    (port,) = free_ports(1)
    folder.mkdir()
    user = "" if os.getuid() else "user root;"  # a socket is its owner's
    text = NGINX.format(user=user, folder=folder, upstream=upstream, port=port)
    (folder / "nginx.conf").write_text(text)
    command = [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    pid = stack.enter_context(running(command, port))
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(children.read_text)
    return port, [pid, *map(int, children.read_text().split())]


def subjects(stack: ExitStack, folder: Path) -> dict[str, Subject]:
    """Start everything; return it by name."""
    upstream, greeting = free_ports(2)
    stack.enter_context(running(own("constant", upstream), upstream))
    pid = stack.enter_context(running(own("hello", greeting), greeting))
    url = f"http://127.0.0.1:{upstream}"
    gateway = stack.enter_context(running_gateway(folder, RANK_URL=url, SCORE_URL=url, ACCESS_LOG="errors"))
    found = {
        "hello": Subject(greeting, [pid], gateway.admin),
        "gateway": Subject(gateway.port, [gateway.process.pid], gateway.admin),
    }
    if (other := nginx(stack, folder / "nginx", f"127.0.0.1:{upstream}")) is not None:
        found["nginx"] = Subject(*other, gateway.admin)
    whole = stack.enter_context(running_stack(folder / "stack"))
    make_board(whole)
    key, rank = whole.values["READ_KEY"], whole.pid("RANK")
    found["board"] = Subject(urlsplit(whole.url).port or 80, [whole.pid("GATEWAY"), rank], key)
    environ = Path(f"/proc/{rank}/environ").read_text().split("\0")
    (socket,) = [each.partition("=")[2] for each in environ if each.startswith("RANK_SOCKET=")]
    if (other := nginx(stack, folder / "nginx-board", f"unix:{socket}")) is not None:
        found["board nginx"] = Subject(other[0], [*other[1], rank], key)
    return found


def make_board(whole: Stack) -> None:
    """Make the board that is asked for, with a hundred players, and have it loaded."""
    key = whole.values["ADMIN_KEY"]
    with httpx.Client(base_url=whole.url, headers={"authorization": f"Bearer {key}"}) as api:
        board = TOP.removesuffix("/top")
        api.put(board.partition("/leaderboards")[0], json={"title": "Demo"}).raise_for_status()
        api.put(board, json={"operator": "best"}).raise_for_status()
        results = [{"user_id": f"player-{i}", "score": i * 9_000} for i in range(100)]
        api.post(
            f"{board.partition('/leaderboards')[0]}/sessions", json={"results": results}
        ).raise_for_status()
        wait_for(lambda: api.get(TOP).json()["source"] == "index")


def compare(seconds: float, rounds: int) -> dict[str, Figure]:
    """Measure everything in turn, `rounds` times; return the medians."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = subjects(stack, folder)
        seen: dict[str, list[Figure]] = {name: [] for name in found}
        for number in range(rounds + 1):
            for name, subject in found.items():
                figure = measure(subject, seconds if number else 1)
                if number:  # the first is to warm up
                    seen[name].append(figure)
    return {name: Figure(*map(statistics.median, zip(*each, strict=True))) for name, each in seen.items()}


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["constant"]:
        import uvloop

        uvloop.run(constant(int(arguments[1])))
    elif arguments[:1] == ["hello"]:
        hello(int(arguments[1]))
    else:
        seconds, rounds = (*map(int, arguments), *(4, 3)[len(arguments) :])
        medians = compare(seconds, rounds)
        for name, (rate, cpu) in medians.items():
            ratios = (f"{rate / other.rate:5.2f} x {beside}" for beside, other in medians.items())
            sys.stdout.write(
                f"{name:11} {rate:8,.0f} requests/s {cpu:6.1f} us CPU each   {'  '.join(ratios)}\n"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
