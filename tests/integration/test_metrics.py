"""What the processes of a stack expose is what the catalogue says, no more and no less."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.metrics import SERVICES, catalogue
from tests.stack import Stack

USUAL = ("process_", "python_")

BY_SETTING = {"leaderboard_gateway_unshared_limits_total"}
"""Of a part that a stack with its defaults has not: limits shared through Redis."""


async def exposed(stack: Stack) -> dict[str, set[str]]:
    """The metrics of each process, by service."""
    ports = {
        "gateway": stack.internal_port,
        "score_service": stack.score_port,
        "rank_service": stack.rank_port,
    }
    found: dict[str, set[str]] = {}
    async with httpx.AsyncClient() as client:
        for service, port in ports.items():
            text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            families = [f for f in text_string_to_metric_families(text) if not f.name.startswith(USUAL)]
            names = {f.name + "_total" * (f.type == "counter") for f in families}
            found[service] = {name for name in names if not name.endswith("_created")}
    return found


async def test_processes_expose_the_catalogue(stack: Stack) -> None:
    found = await exposed(stack)
    for service in SERVICES:
        own = {metric.name for metric in catalogue() if metric.home == service}
        shared = {metric.name for metric in catalogue() if metric.home == "shared"}
        assert own - BY_SETTING <= found[service] <= own | shared, service
    assert {metric.name for metric in catalogue()} - BY_SETTING == set().union(*found.values()) - BY_SETTING
