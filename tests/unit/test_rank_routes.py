"""The short way to the hot paths leads where Starlette's router leads."""

from __future__ import annotations

import pytest
from starlette.routing import Match

from rank_service.routes import direct, routes

BOARD = "/v1/games/demo/leaderboards/global"


def routed(path: str) -> dict[str, str]:
    """Return the parameters Starlette finds on a path."""
    scope = {"type": "http", "method": "GET", "path": path, "root_path": ""}
    for route in routes():
        match, found = route.matches(scope)
        if match is Match.FULL:
            return dict(found["path_params"])
    raise AssertionError(f"{path} leads nowhere")


@pytest.mark.parametrize("path", [f"{BOARD}/top", f"{BOARD}/users/ada", f"{BOARD}/users/a@b:c/around"])
def test_hot_paths_have_the_parameters_of_their_routes(path: str) -> None:
    found = direct(f"{path}?limit=3".encode())
    assert found is not None
    assert (found.params, found.query) == (routed(path), b"limit=3")


@pytest.mark.parametrize(
    "url",
    [
        "/healthz",
        f"{BOARD}/lookup",
        f"{BOARD}/users/",
        f"{BOARD}/users/ada/",
        f"{BOARD}//top",
        f"{BOARD}/users/%61da",
        f"{BOARD}/users/adé",
        f"{BOARD}/top#x",
        "http://h/v1/games/demo/leaderboards/global/top",
        "/v1/games/demo/leaderboard/global/top",
    ],
)
def test_any_other_url_goes_the_usual_way(url: str) -> None:
    assert direct(url.encode()) is None
