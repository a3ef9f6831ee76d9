"""A real Prometheus with the shipped rules and a running stack: all is scraped, every query is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.embedded import free_ports
from deploy.metrics import METRICS
from tests.stack import Stack
from tests.support import wait_until

MONITORING = METRICS.parent / "monitoring"

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


@pytest.fixture
def prometheus(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes the stack."""
    (tmp_path / "prometheus.yml").write_text(settings(stack))
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    (port,) = free_ports(1)
    command = (
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        yield f"http://127.0.0.1:{port}"
        process.terminate()


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


async def test_everything_is_scraped_and_every_query_is_one(stack: Stack, prometheus: str) -> None:
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
    (alive,) = (await told(prometheus, "query", query="sum(up)"))["data"]["result"]
    assert alive["value"][1] == "3"
