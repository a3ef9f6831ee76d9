"""A real Prometheus with the shipped rules and a running stack: all is scraped, every query is one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.embedded import free_ports
from deploy.metrics import METRICS
from tests.stack import Stack, running_stack
from tests.support import wait_until

MONITORING = METRICS.parent / "monitoring"
BOARD = "/v1/games/demo/leaderboards/global/users"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not here"),
]


def settings(stack: Stack) -> str:
    """Return the shipped settings, with addresses of this stack in place of names that compose gives."""
    ports = {
        "gateway": stack.internal_port,
        "score_service": stack.score_port,
        "rank_service": stack.rank_port,
    }
    document: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in document["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    return yaml.safe_dump(document)


@contextmanager
def scraping(stack: Stack, folder: Path, alerts: str) -> Iterator[str]:
    """Run a Prometheus that scrapes the stack, with these alerts; yield its address."""
    (folder / "prometheus.yml").write_text(settings(stack))
    (folder / "alerts.yml").write_text(alerts)
    (port,) = free_ports(1)
    command = (
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def hung(pid: int) -> Iterator[None]:
    """Have a process do nothing while the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def hurried(alerts: str) -> str:
    """Return the alerts with minutes made seconds."""
    return re.sub(r"\[\d+[mh]\]", "[15s]", re.sub(r"for: .*", "for: 1s", alerts))


async def told(url: str, path: str, **query: str) -> Any:
    """Return what Prometheus answers."""
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/api/v1/{path}", params=query)).json()


async def is_ready(url: str) -> bool:
    """Return whether Prometheus takes questions: it listens before that, and says 503."""
    try:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{url}/-/ready")).is_success
    except httpx.TransportError:
        return False


async def test_everything_is_scraped_and_every_query_is_one(stack: Stack, tmp_path: Path) -> None:
    with scraping(stack, tmp_path, (MONITORING / "alerts.yml").read_text()) as prometheus:
        await everything_is_scraped(prometheus)


async def everything_is_scraped(prometheus: str) -> None:
    async def up() -> bool:
        targets = (await told(prometheus, "targets"))["data"]["activeTargets"]
        return len(targets) == 3 and {target["health"] for target in targets} == {"up"}

    async def judged() -> bool:
        groups = (await told(prometheus, "rules"))["data"]["groups"]
        return {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

    await wait_until(lambda: is_ready(prometheus), timeout=30)
    await wait_until(up, timeout=30)
    await wait_until(judged, timeout=30)
    board = json.loads((MONITORING / "grafana" / "dashboards" / "leaderboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    refused = [
        each for each in queries if (await told(prometheus, "query", query=each))["status"] != "success"
    ]
    assert refused == []
    # A series that begins with its first count shows no increase: an alert would miss the first.
    grown = re.findall(r"increase\(([^\[]+)\[", (MONITORING / "alerts.yml").read_text())
    born_late = [
        each for each in grown if not (await told(prometheus, "query", query=each))["data"]["result"]
    ]
    assert born_late == []
    (alive,) = (await told(prometheus, "query", query="sum(up)"))["data"]["result"]
    assert alive["value"][1] == "3"


async def firing(prometheus: str) -> dict[str, str]:
    """Return the alerts that fire, with what they say."""
    alerts = (await told(prometheus, "alerts"))["data"]["alerts"]
    return {
        each["labels"]["alertname"]: each["annotations"]["summary"]
        for each in alerts
        if each["state"] == "firing"
    }


async def play(client: httpx.AsyncClient) -> None:
    """Submit once and read a few, whatever is answered."""
    body = {"results": [{"user_id": f"u{number}", "score": 1} for number in range(5)]}
    reads = [client.get(f"{BOARD}/u{number}") for number in range(5)]
    await asyncio.gather(client.post("/v1/games/demo/sessions", json=body), *reads, return_exceptions=True)


@pytest.mark.timeout(200)
async def test_what_hangs_sets_its_alerts_off_until_it_is_well(tmp_path: Path) -> None:
    alerts = hurried((MONITORING / "alerts.yml").read_text())
    with (
        running_stack(tmp_path / "stack", REQUEST_DEADLINE_MS="1000") as stack,
        scraping(stack, tmp_path, alerts) as prometheus,
    ):
        await wait_until(lambda: is_ready(prometheus), timeout=30)
        async with stack.client(timeout=3) as client:

            async def fire(*names: str) -> dict[str, str]:
                await play(client)
                found = await firing(prometheus)
                return found if found.keys() >= {*names} else {}

            with hung(stack.pid("REDIS")):
                sought = ("OutboxOld", "RankingsBehind", "IndexMissing")
                await wait_until(lambda: fire(*sought), timeout=40)
            with hung(stack.pid("SCORE")):
                found = await wait_until(lambda: fire("NoService", "ServiceDown", "ManyErrors"), timeout=40)
            assert found["NoService"] == "no process of score_service answers"

            async def well() -> bool:
                return await firing(prometheus) == {}

            await wait_until(well, timeout=60)
