"""Who may call the gateway, how often, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.routes import ROUTES, Route
from shared.keys import SigningKey, revoke, write_jwks
from tests.doors import TOP, Gateway, Reply, Service, running_gateway, wait_for

SESSIONS = "/v1/games/demo/sessions"
PROVIDER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gateway")
    jwk = {**RSAAlgorithm.to_jwk(PROVIDER.public_key(), as_dict=True), "kid": "idp", "alg": "RS256"}
    (folder / "players.json").write_bytes(orjson.dumps({"keys": [jwk]}))
    return folder


@pytest.fixture(scope="module")
def gateway(service: Service, folder: Path) -> Iterator[Gateway]:
    settings = {
        "SCORE_URL": service.url,
        "RANK_URL": service.url,
        "PUBLIC_GAMES": "open",
        "REVOKED_KEYS_FILE": str(folder / "revoked"),
        "PLAYER_JWKS_FILE": str(folder / "players.json"),
        "PLAYER_ISSUER": "https://idp.example",
        "PLAYER_AUDIENCE": "game",
        "ADDRESS_RATE": "1000",
        "ADDRESS_BURST": "10000",
        "KEY_RATE": "0.01",
        "KEY_BURST": "3",
        "TRUSTED_PROXIES": "127.0.0.0/8",
        "CORS_ORIGINS": "https://game.example",
    }
    with running_gateway(folder, **settings) as gateway:
        yield gateway


def code(reply: Reply) -> tuple[int, str]:
    return reply.status, orjson.loads(reply.body)["code"]


def player(user_id: str, **change: Any) -> str:
    claims = {"iss": "https://idp.example", "aud": "game", "sub": user_id, "exp": int(time.time()) + 60}
    return jwt.encode(claims | change, PROVIDER, "RS256", headers={"kid": "idp"})


def test_a_call_needs_a_key(gateway: Gateway) -> None:
    reply = gateway.call("GET", TOP, key=None)
    assert code(reply) == (401, "unauthorized")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert orjson.loads(reply.body)["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer x", "Bearer a.b.c", "KEY", "Bearer  "])
def test_what_is_no_key_of_ours_is_refused(gateway: Gateway, header: str) -> None:
    assert code(gateway.call("GET", TOP, key=None, headers=f"authorization: {header}\r\n"))[0] == 401


def test_a_key_of_another_signer_is_refused(gateway: Gateway) -> None:
    assert code(gateway.call("GET", TOP, key=SigningKey.generate().mint("admin"))) == (401, "unauthorized")


def test_an_expired_key_is_refused(gateway: Gateway) -> None:
    assert gateway.call("GET", TOP, key=gateway.signer.mint("read", expires_in=-1)).status == 401


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("read", "GET", TOP, 200),
        ("read", "POST", SESSIONS, 403),
        ("submit", "POST", SESSIONS, 200),
        ("submit", "GET", TOP, 200),
        ("submit", "PUT", "/v1/games/demo", 403),
        ("admin", "PUT", "/v1/games/demo", 200),
        ("admin", "GET", "/v1/games", 200),
    ],
)
def test_scopes(gateway: Gateway, scope: Any, method: str, path: str, status: int) -> None:
    assert gateway.call(method, path, key=gateway.signer.mint(scope)).status == status


def test_a_key_is_good_for_its_games_only(gateway: Gateway) -> None:
    key = gateway.signer.mint("admin", games=["demo"], unlimited=True)
    assert gateway.call("GET", TOP, key=key).status == 200
    assert code(gateway.call("GET", TOP.replace("demo", "other"), key=key)) == (403, "forbidden")
    assert code(gateway.call("GET", "/v1/games", key=key)) == (403, "forbidden")


def test_reads_of_public_games_need_no_key(gateway: Gateway, service: Service) -> None:
    service.seen.clear()
    assert gateway.call("GET", TOP.replace("demo", "open"), key=None).status == 200
    assert b"x-scope: read\r\n" in service.seen[0]
    assert b"x-key-id" not in service.seen[0]
    assert gateway.call("POST", SESSIONS.replace("demo", "open"), key=None).status == 401


def test_the_service_learns_who_asks_but_never_the_token(gateway: Gateway, service: Service) -> None:
    service.seen.clear()
    gateway.call("GET", TOP, headers="x-request-id: trace-0123456789\r\n")
    (seen,) = service.seen
    assert b"x-key-id: test-admin\r\n" in seen
    assert b"x-scope: admin\r\n" in seen
    assert b"x-request-id: trace-0123456789\r\n" in seen
    assert b"authorization" not in seen.lower()


def test_unknown_paths_and_wrong_methods(gateway: Gateway) -> None:
    assert code(gateway.call("GET", "/v1/nothing")) == (404, "not_found")
    reply = gateway.call("DELETE", TOP)
    assert code(reply) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"
    assert code(gateway.call("GET", SESSIONS + "/batch", body=b"{}")) == (405, "method_not_allowed")


def test_a_revoked_key_stops_working_while_the_gateway_runs(gateway: Gateway, folder: Path) -> None:
    key = gateway.signer.mint("read", key_id="stolen", unlimited=True)
    assert gateway.call("GET", TOP, key=key).status == 200
    revoke(folder / "revoked", "stolen")
    wait_for(lambda: gateway.call("GET", TOP, key=key).status == 401, timeout=5)


def test_a_new_signing_key_starts_working_while_the_gateway_runs(gateway: Gateway, folder: Path) -> None:
    new = SigningKey.generate()
    key = new.mint("read", unlimited=True)
    assert gateway.call("GET", TOP, key=key).status == 401
    write_jwks(folder / "jwks.json", [gateway.signer.public, new.public])
    wait_for(lambda: gateway.call("GET", TOP, key=key).status == 200, timeout=5)
    assert gateway.call("GET", TOP).status == 200


def test_a_player_reads_and_is_me(gateway: Gateway, service: Service) -> None:
    service.seen.clear()
    reply = gateway.call(
        "GET", "/v1/games/demo/leaderboards/global/users/me/around?radius=2", key=player("ada")
    )
    assert reply.status == 200
    assert service.seen[0].startswith(b"GET /v1/games/demo/leaderboards/global/users/ada/around?radius=2 ")
    assert b"x-key-id: player:ada\r\nx-scope: read\r\n" in service.seen[0]


OF_USERS = [route for route in ROUTES if route.user_at]


@pytest.mark.parametrize("route", OF_USERS, ids=lambda route: f"{route.method} {route.pattern}")
def test_me_is_the_player_on_every_path_of_a_user(gateway: Gateway, service: Service, route: Route) -> None:
    service.seen.clear()
    who = f"player-{OF_USERS.index(route)}"  # each has a rate of its own
    path = route.pattern.format(game="demo", leaderboard="global", user_id="{user_id}", session_id="s")
    reply = gateway.call(route.method, path.format(user_id="me"), key=player(who))
    if route.scope == "read":
        assert reply.status == 200
        assert service.seen[0].startswith(f"{route.method} {path.format(user_id=who)} HTTP".encode())
    else:
        assert code(reply) == (403, "forbidden")
        assert service.seen == []


def test_a_player_may_not_submit(gateway: Gateway) -> None:
    assert code(gateway.call("POST", SESSIONS, key=player("bob"))) == (403, "forbidden")


def test_me_is_nobody_without_a_players_token(gateway: Gateway) -> None:
    assert code(gateway.call("GET", "/v1/games/demo/users/me")) == (403, "forbidden")
    assert code(gateway.call("PUT", "/v1/games/demo/users/me", body=b"{}")) == (403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [{"iss": "x"}, {"aud": "x"}, {"exp": 1}, {"sub": "me"}, {"sub": "a b"}, {"sub": None}, {"sub": 7}],
    ids=str,
)
def test_a_wrong_players_token_is_refused(gateway: Gateway, change: dict[str, Any]) -> None:
    token = player(**{"user_id": "cy", **change} if "sub" not in change else {"user_id": "cy"} | change)
    assert gateway.call("GET", TOP, key=token).status == 401


def test_a_key_that_asks_too_much_is_told_when_to_come_again(gateway: Gateway) -> None:
    key = gateway.signer.mint("read")
    replies = [gateway.call("GET", TOP, key=key) for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert [reply.headers["ratelimit-remaining"] for reply in replies] == ["2", "1", "0", "0"]
    assert code(replies[-1]) == (429, "rate_limited")
    assert int(replies[-1].headers["retry-after"]) > 0


def test_an_unlimited_key_carries_no_limit(gateway: Gateway) -> None:
    replies = [gateway.call("GET", TOP) for _ in range(10)]
    assert {reply.status for reply in replies} == {200}
    assert "ratelimit-limit" not in replies[-1].headers


def test_a_page_elsewhere_may_ask_first(gateway: Gateway) -> None:
    asking = "origin: https://game.example\r\naccess-control-request-method: GET\r\n"
    reply = gateway.call("OPTIONS", TOP, key=None, headers=asking)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "https://game.example"
    assert "GET" in reply.headers["access-control-allow-methods"]


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz"])
def test_own_pages_need_no_key(gateway: Gateway, path: str) -> None:
    whole, head = gateway.call("GET", path, key=None), gateway.call("HEAD", path, key=None)
    assert whole.status == head.status == 200
    assert head.headers["content-length"] == str(len(whole.body))


def test_the_log_has_a_line_per_request_and_no_token(gateway: Gateway) -> None:
    reply = gateway.call("GET", f"{TOP}?access_token=secret", headers="x-forwarded-for: 9.9.9.9\r\n")
    mark = reply.headers["x-request-id"].encode()
    wait_for(lambda: mark in gateway.log.read_bytes(), timeout=5)
    text = gateway.log.read_bytes()
    (line,) = [orjson.loads(line) for line in text.splitlines() if mark in line]
    assert (line["status"], line["upstream"], line["key_id"], line["path"]) == (
        200,
        "rank",
        "test-admin",
        TOP,
    )
    assert line["client"] == "9.9.9.9"
    assert b"secret" not in text
    assert gateway.admin.encode() not in text


def test_metrics_and_readiness_are_on_the_internal_port_only(gateway: Gateway) -> None:
    gateway.call("GET", TOP)
    text = gateway.internal.call("GET", "/metrics").body.decode()
    assert 'leaderboard_gateway_requests_total{method="GET",route="' in text
    assert "leaderboard_gateway_seconds_bucket" in text
    assert gateway.internal.call("GET", "/readyz").status == 200
    assert {gateway.call("GET", path).status for path in ("/metrics", "/readyz")} == {404}
