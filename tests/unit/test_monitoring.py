"""Alerts and dashboard: they speak of metrics there are; each alert fires when it should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.metrics import METRICS, catalogue, render
from gateway.routes import ROUTES

MONITORING = METRICS.parent / "monitoring"
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
BOARD = json.loads((MONITORING / "grafana" / "dashboards" / "leaderboard.json").read_text())
KNOWN = {name for metric in catalogue() for name in metric.series}
NAMED = re.compile(r"\bleaderboard_[a-z_]+\b")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not here (Debian's package `prometheus` has it)"
)

POSTED = 'leaderboard_gateway_seconds_bucket{method="POST",route="/v1/games/{game}/sessions",le="%s"}'

FIRING = {
    "ServiceDown": {'up{job="gateway"}': "0x20"},
    "NoService": {'up{job="gateway"}': "1x20", 'up{job="score_service"}': "1x20"},
    "ManyErrors": {
        'leaderboard_gateway_requests_total{status="503"}': "0+6x20",
        'leaderboard_gateway_requests_total{status="200"}': "0+94x20",
    },
    "SlowWrites": {
        POSTED % "0.25": "0+1x20",
        POSTED % "0.5": "0+50x20",
        POSTED % "+Inf": "0+50x20",
    },
    "SlowReads": {
        'leaderboard_gateway_seconds_bucket{upstream="rank",le="0.1"}': "0+1x20",
        'leaderboard_gateway_seconds_bucket{upstream="rank",le="0.25"}': "0+50x20",
        'leaderboard_gateway_seconds_bucket{upstream="rank",le="+Inf"}': "0+50x20",
    },
    "LoadShed": {'leaderboard_problems_total{code="overloaded",job="score_service"}': "0+10x20"},
    "StoreAway": {'leaderboard_problems_total{code="upstream_unavailable",job="rank_service"}': "0+10x20"},
    "AddressEjected": {'leaderboard_gateway_ejected_addresses{upstream="rank"}': "1x20"},
    "SlowCommits": {
        'leaderboard_commit_seconds_bucket{le="0.1"}': "0+1x20",
        'leaderboard_commit_seconds_bucket{le="0.25"}': "0+50x20",
        'leaderboard_commit_seconds_bucket{le="+Inf"}': "0+50x20",
    },
    "CommitQueueLong": {"leaderboard_sessions_waiting": "2000x20"},
    "OutboxOld": {"leaderboard_outbox_age_seconds": "11+60x20"},
    "RankingsBehind": {"leaderboard_rank_rankings_behind": "1x20"},
    "IndexMissing": {"leaderboard_rank_fallback_queries_total": "0+300x20"},
    "LoadsFail": {'leaderboard_index_loads_total{outcome="error"}': "0+1x20"},
    "Drift": {'leaderboard_audit_drift_total{repair="rewritten"}': "0 0 1x18"},
    "OldPrimary": {'leaderboard_old_primary_total{pool="rank_service"}': "0x8 1x12"},
    "JobFails": {'leaderboard_job_failures_total{exported_job="relay the outbox"}': "0+1x20"},
    "WebhooksGivenUp": {'leaderboard_webhook_attempts_total{outcome="given_up"}': "0 0 1x18"},
    "UnexpectedErrors": {"leaderboard_unexpected_errors_total": "0x8 1x12"},
    "PoolBusy": {
        'leaderboard_pool_connections{pool="score_service"}': "8x20",
        'leaderboard_pool_idle_connections{pool="score_service"}': "0x20",
    },
    "ReadersTooSlow": {'leaderboard_gateway_readers_cut_total{job="gateway"}': "0+120x20"},
}
"""For each alert, what makes it fire within 15 minutes; a value a minute."""

WELL = {
    'up{job="gateway"}': "1x20",
    'up{job="score_service"}': "1x20",
    'up{job="rank_service"}': "1x20",
    'leaderboard_gateway_requests_total{status="200"}': "0+6000x20",
    'leaderboard_problems_total{code="overloaded",job="score_service"}': "7x20",
    'leaderboard_pool_connections{pool="score_service"}': "2x20",
    'leaderboard_pool_idle_connections{pool="score_service"}': "0x20",
    "leaderboard_outbox_age_seconds": "0.2x20",
}


def expressions() -> list[str]:
    queries = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return [*queries, *(rule["expr"] for rule in RULES)]


def fired(tmp_path: Path, *cases: tuple[dict[str, str], list[str]]) -> set[str]:
    """Which of the alerts asked about fire after 15 minutes: promtool, told that none does, names them."""
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": "15m", "alertname": alert} for alert in alerts],
        }
        for series, alerts in cases
    ]
    document = {"rule_files": [str(MONITORING / "alerts.yml")], "tests": tests}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    command = ["promtool", "test", "rules", str(tmp_path / "test.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = set(re.findall(r"alertname[:=] ?\"?(\w+)", result.stdout + result.stderr))
    assert found or result.returncode == 0, result.stderr
    return found


def test_the_catalogue_on_record_is_that_of_the_code() -> None:
    assert METRICS.read_text() == render(), "run `make schema` and look at the difference"


def test_every_metric_says_what_it_means() -> None:
    assert [
        metric.name for metric in catalogue() if not metric.meaning.endswith(".") and metric.meaning
    ] == []
    assert [metric.name for metric in catalogue() if not metric.meaning] == []


def test_alerts_and_dashboard_speak_of_metrics_there_are() -> None:
    assert {name for text in expressions() for name in NAMED.findall(text)} <= KNOWN


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for text in expressions() for name in NAMED.findall(text)}
    assert {metric.name for metric in catalogue() if not metric.series & shown} == set()


def test_alerts_and_dashboard_call_services_and_routes_what_the_gateway_does() -> None:
    def named(label: str) -> set[str]:
        return {name for text in expressions() for name in re.findall(rf'{label}[=!]~?"([^"]+)"', text)}

    assert named("upstream") <= {route.service for route in ROUTES}
    for pattern in named("route"):
        assert any(re.fullmatch(pattern, route.pattern) for route in ROUTES), pattern


def test_every_panel_and_alert_is_told_apart() -> None:
    for names in ([p["title"] for p in BOARD["panels"]], [rule["alert"] for rule in RULES]):
        assert len(set(names)) == len(names)


def test_every_alert_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^### (\w+)$", (METRICS.parent / "RUNBOOK.md").read_text(), re.MULTILINE)
    assert {rule["alert"] for rule in RULES} <= set(sections)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"deploy/RUNBOOK.md#{rule['alert'].lower()}"


def test_every_alert_has_been_made_to_fire() -> None:
    assert {rule["alert"] for rule in RULES} == FIRING.keys()


@needs_promtool
def test_every_alert_fires(tmp_path: Path) -> None:
    assert fired(tmp_path, *((series, [alert]) for alert, series in FIRING.items())) == FIRING.keys()


@needs_promtool
def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    assert fired(tmp_path, (WELL, list(FIRING))) == set()


@needs_promtool
def test_prometheus_takes_its_settings() -> None:
    command = ["promtool", "check", "config", str(MONITORING / "prometheus.yml")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
