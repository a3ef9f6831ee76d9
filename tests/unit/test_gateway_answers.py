"""How answers are written: hygiene, CORS, compression, problems."""

from __future__ import annotations

import zlib

import pytest

from gateway.answers import Answers, accepts_gzip
from gateway.request import Request
from gateway.routes import ROUTES
from shared.errors import LeaderboardError

JSON = (b"content-type", b"application/json")


def request(**fields: str) -> Request:
    made = Request(0.0)
    made.method, made.id, made.keep_alive, made.is_chunked = b"GET", b"abcdefgh", True, True
    made.route = ROUTES[0]
    made.fields = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return made


def head_and_body(answer: bytes) -> tuple[dict[str, list[str]], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    headers: dict[str, list[str]] = {}
    for line in head.decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        headers.setdefault(name, []).append(value)
    return headers, body


@pytest.fixture
def answers() -> Answers:
    return Answers(("https://game.example",), is_https=False)


def test_every_answer_carries_its_id_and_the_hygiene(answers: Answers) -> None:
    headers, body = head_and_body(answers.whole(request(), 200, [JSON], b"{}"))
    assert body == b"{}"
    assert headers["x-request-id"] == ["abcdefgh"]
    assert headers["x-content-type-options"] == ["nosniff"]
    assert headers["content-security-policy"] == ["default-src 'none'; frame-ancestors 'none'"]
    assert "strict-transport-security" not in headers


def test_browsers_are_told_to_insist_on_tls_where_there_is_tls() -> None:
    headers, _ = head_and_body(Answers((), is_https=True).whole(request(), 200, [JSON], b"{}"))
    assert headers["strict-transport-security"] == ["max-age=31536000"]


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("GZIP", True),
        ("gzip;q=0", False),
        ("br", False),
        ("", False),
    ],
)
def test_large_answers_are_compressed_for_who_can_read_it(
    answers: Answers, accepted: str, is_compressed: bool
) -> None:
    page = b'{"rank":1}' * 1000
    asked = request(accept_encoding=accepted) if accepted else request()
    headers, body = head_and_body(answers.whole(asked, 200, [JSON, (b"etag", b'"v1"')], page))
    assert bool(headers.get("content-encoding")) is is_compressed
    assert headers["content-length"] == [str(len(body))]
    assert (zlib.decompress(body, 31) if is_compressed else body) == page
    assert headers["etag"] == ['W/"v1"' if is_compressed else '"v1"']


def test_small_and_encoded_answers_are_left_alone(answers: Answers) -> None:
    asked = request(accept_encoding="gzip")
    assert b"content-encoding" not in answers.whole(asked, 200, [JSON], b"{}")
    encoded = answers.whole(asked, 200, [(b"content-encoding", b"br")], b"x" * 9000)
    assert encoded.endswith(b"x" * 9000)


@pytest.mark.parametrize("given", [b"x-gzip", b"gzipped", b"gzip;q=0.0", b"gzip ; q=0"])
def test_what_only_looks_like_gzip_is_not(given: bytes) -> None:
    assert not accepts_gzip(given)


def test_no_body_and_no_length_where_there_can_be_none(answers: Answers) -> None:
    for status in (204, 304):
        answer = answers.whole(request(), status, [(b"etag", b'"a"')], b"")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length" not in answer


def test_head_gets_the_length_and_not_the_body(answers: Answers) -> None:
    asked = request()
    asked.method = b"HEAD"
    headers, body = head_and_body(answers.whole(asked, 200, [JSON], b"12345"))
    assert (headers["content-length"], body) == (["5"], b"")


def test_a_page_of_a_listed_origin_may_read_the_answer(answers: Answers) -> None:
    headers, _ = head_and_body(answers.whole(request(origin="https://game.example"), 200, [JSON], b"{}"))
    assert headers["access-control-allow-origin"] == ["https://game.example"]
    assert "origin" in headers["vary"]


def test_another_page_may_not(answers: Answers) -> None:
    for origin in ("https://evil.example", "null", "https://game.example.evil"):
        assert b"access-control" not in answers.whole(request(origin=origin), 200, [JSON], b"{}")
        asked = request(origin=origin, access_control_request_method="POST")
        assert answers.preflight(asked, b"POST") == [(b"allow", b"POST")]


def test_a_preflight_says_what_may_be_asked(answers: Answers) -> None:
    asked = request(origin="https://game.example", access_control_request_method="POST")
    headers = dict(answers.preflight(asked, b"POST, OPTIONS"))
    assert headers[b"access-control-allow-methods"] == b"POST, OPTIONS"
    assert b"authorization" in headers[b"access-control-allow-headers"]


def test_a_problem_says_how_to_authenticate_and_when_to_come_again(answers: Answers) -> None:
    headers, _ = head_and_body(answers.problem(request(), LeaderboardError("unauthorized", "no")))
    assert headers["www-authenticate"] == ['Bearer realm="leaderboard"']
    headers, _ = head_and_body(answers.problem(request(), LeaderboardError("overloaded", "no")))
    assert headers["retry-after"] == ["1"]


def test_a_stream_is_framed_once(answers: Answers) -> None:
    asked = request()
    assert b"transfer-encoding: chunked" in answers.stream_head(asked, 200, [], None)
    head = answers.stream_head(asked, 200, [], 10)
    assert b"content-length: 10" in head
    assert b"transfer-encoding" not in head
    assert not asked.is_chunked
