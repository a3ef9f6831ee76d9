"""Frames: cut where they end, however the bytes come, and never past what a payload may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routes import GAME, ROUTES, Route
from rank_service.routes import direct as rank_direct
from score_service.routes import direct as score_direct
from shared.frames import HEAD, MAX_NUMBER, Splitter, frame

FRAMES = st.lists(st.tuples(st.integers(0, MAX_NUMBER), st.binary(max_size=40)), max_size=8)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 400), max_size=20))
def test_frames_are_the_same_however_their_bytes_are_cut(
    frames: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(frame(number, payload) for number, payload in frames)
    splitter = Splitter(40)
    found: list[tuple[int, bytes]] = []
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        found += splitter.feed(data[at:cut])
        at = max(at, cut)
    assert found == frames


def test_a_payload_longer_than_its_bound_is_refused_by_its_head_alone() -> None:
    assert Splitter(40).feed(frame(1, b"x" * 40)) == [(1, b"x" * 40)]
    with pytest.raises(ValueError, match="41 bytes"):
        Splitter(40).feed(HEAD.pack(41, 1))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.pattern}")
def test_what_the_gateway_calls_hot_its_service_answers_in_frames(route: Route) -> None:
    path = route.pattern
    for name in ("game", "leaderboard", "user_id", "session_id"):
        path = path.replace(f"{{{name}}}", "a1")
    finds = {"score": ("POST", score_direct), "rank": ("GET", rank_direct)}
    method, find = finds[route.service]
    found = find(path.encode()) if route.method == method else None
    assert route.is_hot == (found is not None and not found.endpoint.is_stream)
    assert route.is_hot or route.pattern != f"{GAME}/sessions" or route.method == "GET"
