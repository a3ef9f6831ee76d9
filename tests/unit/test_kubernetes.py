"""The files for Kubernetes: valid by its own schemas, offline; and what is promised of every pod."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "k8s"
BASE: list[dict[str, Any]] = [
    document
    for path in sorted((FOLDER / "base").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document["kind"] != "Kustomization"
]
PODS = [each for each in BASE if each["kind"] in ("Deployment", "Job")]
DEPLOYMENTS = [each for each in PODS if each["kind"] == "Deployment"]
VERSION = "1.33"

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which builds overlays, is not here"
)


def named(each: dict[str, Any]) -> str:
    return f"{each['kind']}-{each['metadata']['name']}"


def component(each: dict[str, Any]) -> str:
    found: str = each["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
    return found


@pytest.mark.parametrize("document", BASE, ids=named)
def test_a_file_is_valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_a_wrong_field_is_seen() -> None:
    wrong = {**DEPLOYMENTS[0], "spec": {**DEPLOYMENTS[0]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@needs_kubectl
@pytest.mark.parametrize("overlay", ["small", "large"])
def test_an_overlay_is_valid(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = list(yaml.safe_load_all(built))
    assert len(documents) == len(BASE)
    for document in documents:
        assert document["metadata"]["namespace"] == "leaderboard"
        kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.mark.parametrize("each", PODS, ids=named)
def test_a_pod_may_do_little(each: dict[str, Any]) -> None:
    pod = each["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"]
    assert not [env for env in container["env"] if "@" in env["value"]]


@pytest.mark.parametrize("each", DEPLOYMENTS, ids=named)
def test_a_deployment_is_probed_spread_and_kept_up(each: dict[str, Any]) -> None:
    pod = each["spec"]["template"]["spec"]
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert {c["topologyKey"].rpartition("/")[2] for c in pod["topologySpreadConstraints"]} == {
        "zone",
        "hostname",
    }
    budgets = [b for b in BASE if b["kind"] == "PodDisruptionBudget"]
    assert each["metadata"]["name"] in {budget["metadata"]["name"] for budget in budgets}


def test_the_read_side_scales_by_itself() -> None:
    (scaler,) = [each for each in BASE if each["kind"] == "HorizontalPodAutoscaler"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "rank-service"
    (scaled,) = [each for each in DEPLOYMENTS if component(each) == "rank_service"]
    assert "replicas" not in scaled["spec"], "rolling it out would undo what the scaler did"


def test_the_gateway_sees_every_pod_behind_a_name() -> None:
    services = {each["metadata"]["name"]: each["spec"] for each in BASE if each["kind"] == "Service"}
    assert {name for name, spec in services.items() if spec.get("clusterIP") == "None"} == {
        "score-service",
        "rank-service",
    }


def test_nobody_is_reached_unless_a_policy_says_so() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in BASE if each["kind"] == "NetworkPolicy"}
    closed = policies["nothing-unless-allowed"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & closed.keys()
    for each in PODS:
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert closed["podSelector"]["matchLabels"].items() <= labels.items()
