"""The image and docker-compose.yml: what is promised of them; the secrets; the health check."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import health
from deploy.embedded import free_ports
from deploy.secrets import Hosts, make
from shared.keys import SigningKey, read_jwks, verify, write_jwks

ROOT = Path(__file__).parent.parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {"secrets", "migrate", "score_service", "rank_service", "gateway", "leaderboard"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_bounded_and_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_write_nowhere(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert "user" not in SERVICES[name], "the image says who runs it"


def test_services_wait_for_the_schema_and_the_gateway_for_services() -> None:
    for name in ("score_service", "rank_service"):
        waits = SERVICES[name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["valkey"]["condition"] == "service_healthy"
    waits = SERVICES["gateway"]["depends_on"]
    assert {each["condition"] for each in waits.values()} == {"service_healthy"}


def test_only_the_gateway_and_the_dashboards_are_published() -> None:
    published = {name for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway", "prometheus", "grafana"}
    assert all("127.0.0.1" in port for name in published for port in SERVICES[name]["ports"])


def test_each_reads_its_own_secrets_and_none_is_in_the_environment() -> None:
    for name in ("score_service", "rank_service", "gateway"):
        mounts = [mount for mount in SERVICES[name]["volumes"] if "secrets" in mount]
        assert mounts == [f"secrets_{name.partition('_')[0]}:/secrets:ro"]
    values = [str(v) for service in SERVICES.values() for v in service.get("environment", {}).values()]
    assert not [value for value in values if "://" in value and "@" in value]


def test_a_service_can_be_scaled() -> None:
    for name in ("score_service", "rank_service"):
        assert not {"container_name", "ports"} & SERVICES[name].keys()


def test_the_image_runs_as_a_number_and_checks_its_health() -> None:
    _, built, result = (ROOT / "deploy" / "Dockerfile").read_text().split("\nFROM ")
    assert "--require-hashes" in built
    assert "USER 10001:10001" in result
    assert "HEALTHCHECK" in result
    assert "\nRUN " not in result, "it would leave its time in the image, and maybe tools"
    assert "apt-get" not in built + result


def test_secrets_are_made_once(tmp_path: Path) -> None:
    hosts = Hosts("db", "cache")
    assert "score/database_url" in make(tmp_path, hosts)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert make(tmp_path, hosts) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_urls_hold_the_passwords_that_are_set(tmp_path: Path) -> None:
    make(tmp_path, Hosts("db", "cache"))
    logins = json.loads((tmp_path / "admin" / "logins.json").read_text())
    url = (tmp_path / "rank" / "database_url").read_text().strip()
    assert url == f"postgresql://rank_service:{logins['rank_service']}@db:5432/leaderboard"
    password = (tmp_path / "valkey" / "valkey.conf").read_text().split()[1]
    assert f":{password}@cache:" in (tmp_path / "score" / "redis_url").read_text()


def test_secrets_cut_short_are_completed(tmp_path: Path) -> None:
    make(tmp_path, Hosts("db", "cache"))
    (tmp_path / "score" / "redis_url").unlink()
    assert make(tmp_path, Hosts("db", "cache")) == ["score/redis_url"]


def test_the_gateway_believes_the_keys_made_and_knows_no_secret(tmp_path: Path) -> None:
    make(tmp_path, Hosts("db", "cache"))
    keys = json.loads((tmp_path / "admin" / "keys.json").read_text())
    assert verify(keys["admin"], read_jwks(tmp_path / "gateway" / "jwks.json")).scope == "admin"
    assert {path.name for path in (tmp_path / "gateway").iterdir()} == {"jwks.json", "revoked"}


def test_a_key_added_later_is_still_believed_after_the_next_start(tmp_path: Path) -> None:
    make(tmp_path, Hosts("db", "cache"))
    jwks = tmp_path / "gateway" / "jwks.json"
    write_jwks(jwks, [*read_jwks(jwks).values(), SigningKey.generate().public])
    make(tmp_path, Hosts("db", "cache"))
    assert len(read_jwks(jwks)) == 2


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A server that answers with the status its `status` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.status if self.path == "/readyz" else 404)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_container_is_healthy_when_its_service_is_ready(
    answering: HTTPServer, status: int, code: int
) -> None:
    answering.status = status  # type: ignore[attr-defined]
    rank, gateway = free_ports(2)
    environ = {"RANK_PORT": str(rank), "GATEWAY_INTERNAL_PORT": str(gateway)}
    assert health.main({**environ, "SCORE_PORT": str(answering.server_address[1])}) == code


def test_a_container_where_nobody_listens_is_not_healthy() -> None:
    ports = map(str, free_ports(3))
    assert health.main(dict(zip(health.PORTS, ports, strict=True))) == 1
