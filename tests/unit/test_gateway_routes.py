"""The route table is the API, and the matcher finds exactly what it lists."""

from __future__ import annotations

import re

import pytest

from gateway.routes import BOARD, GAME, ROUTES, USER, Route, find, tree

ROOT = tree()
IDS = {"{game}": "demo", "{leaderboard}": "global", "{user_id}": "ada", "{session_id}": "0199"}


def concrete(pattern: str) -> list[bytes]:
    for name, value in IDS.items():
        pattern = pattern.replace(name, value)
    return pattern.encode().split(b"/")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_every_route_is_found(route: Route) -> None:
    node = find(ROOT, concrete(route.pattern))
    assert node is not None
    assert node.methods[route.method.encode()] is route


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_ids_are_where_the_route_says(route: Route) -> None:
    parts = concrete(route.pattern)
    assert not route.game_at or parts[route.game_at] == b"demo"
    assert not route.user_at or parts[route.user_at] == b"ada"
    assert bool(route.game_at) == ("{game}" in route.pattern)
    assert bool(route.user_at) == ("{user_id}" in route.pattern)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/v1",
        b"/v1/games/demo/nothing",
        b"/v1/games/demo/leaderboards/global/top/more",
        b"/readyz",
        b"/metrics",
        b"/v2/games",
    ],
)
def test_nothing_else_is_found(path: bytes) -> None:
    assert find(ROOT, path.split(b"/")) is None


def test_head_is_what_get_is_and_allow_lists_both() -> None:
    node = find(ROOT, b"/v1/games/demo/leaderboards/global/top".split(b"/"))
    assert node is not None
    assert node.methods[b"HEAD"] is node.methods[b"GET"]
    assert node.allow == b"GET, HEAD, OPTIONS"


def test_only_reads_may_be_sent_twice() -> None:
    reads = {(route.method, route.pattern.rpartition("/")[2]) for route in ROUTES if route.is_read}
    assert {method for method, last in reads if last != "lookup"} == {"GET"}
    assert ("POST", "lookup") in reads


def test_what_changes_something_needs_more_than_read() -> None:
    assert all(route.scope != "read" for route in ROUTES if not route.is_read)


def test_what_is_done_by_hand_needs_the_admin_scope() -> None:
    by_hand = {(route.method, route.pattern) for route in ROUTES if not route.is_read}
    by_hand -= {("POST", f"{GAME}/sessions"), ("POST", f"{GAME}/sessions/batch"), ("PUT", USER)}
    by_hand |= {("GET", f"{GAME}/audit"), ("GET", f"{USER}/export"), ("GET", f"{BOARD}/export")}
    assert {(route.method, route.pattern) for route in ROUTES if route.scope == "admin"} >= by_hand


def test_internal_paths_of_the_services_are_not_routed() -> None:
    assert not [route for route in ROUTES if re.search("healthz|readyz|metrics", route.pattern)]


@pytest.mark.parametrize("service", ["score_service", "rank_service"])
def test_every_public_route_of_a_service_is_in_the_table(service: str) -> None:
    module = __import__(f"{service}.routes", fromlist=["routes"])
    name = service.removesuffix("_service")
    served = {
        (method, re.sub(":[a-z]+}", "}", route.path))
        for route in module.routes()
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith("/v1") and method != "HEAD"
    }
    listed = {(route.method, route.pattern) for route in ROUTES if route.service == name}
    assert served <= listed, served - listed
