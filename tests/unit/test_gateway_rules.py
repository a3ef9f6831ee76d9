"""What passes the gateway and what does not: paths, headers, heads."""

from __future__ import annotations

import pytest

from gateway import rules
from shared.errors import LeaderboardError


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        (b"/v1/games/demo/users/ada:1@x.y", b"/v1/games/demo/users/ada:1@x.y"),
        (b"/v1/games/demo/users/ada%3A1%40x", b"/v1/games/demo/users/ada:1@x"),
        (b"/v1/games/%64emo", b"/v1/games/demo"),
        (b"/v1/games/a%2Fb", None),
        (b"/v1/games/a%252Fb", None),
        (b"/v1/games/..", None),
        (b"/v1/games/%2e%2e/x", None),
        (b"/v1//games", None),
        (b"/v1/games/", None),
        (b"/v1/games/a%00", b"/v1/games/a%00"),
        (b"/v1/games/a%0d%0ab", b"/v1/games/a%0D%0Ab"),
        (b"/v1/games/-a", b"/v1/games/-a"),
        (b"/v1/games/.", None),
        (b"/v1/games/a\\b", None),
        (b"/v1/games/a;b=c", b"/v1/games/a%3Bb%3Dc"),
        (b"/v1/games/a%3bb%3dc", b"/v1/games/a%3Bb%3Dc"),
        (b"/v1/games/a%20b", b"/v1/games/a%20b"),
        (b"v1/games", None),
        (b"/v1/games/a%", None),
        (b"/v1/games/%C3%A9", None),
        (b"", None),
    ],
)
def test_a_path_has_one_spelling_or_none(path: bytes, plain: bytes | None) -> None:
    assert rules.plain_path(path) == plain


@pytest.mark.parametrize(
    ("given", "is_sane"),
    [
        (b"0199c2d1-5b1e-7000-8000-000000000000", True),
        (b"abcdefgh", True),
        (b"short", False),
        (b"a" * 129, False),
        (b"with space in it", False),
        (b'"quotes"-here', False),
        (b"-starts-with-dash", False),
    ],
)
def test_a_request_id_is_accepted_only_if_sane(given: bytes, is_sane: bool) -> None:
    assert bool(rules.is_request_id(given)) is is_sane


def test_only_listed_headers_pass_inwards() -> None:
    fields = {b"accept": b"a/b", b"authorization": b"Bearer x", b"x-request-id": b"abcdefgh", b"host": b"h"}
    assert rules.passed_on(fields, body=True) == b"accept: a/b\r\n"


def test_a_weak_validator_is_passed_on_as_the_strong_one_it_stands_for() -> None:
    fields = {b"if-none-match": b'W/"a", "b"'}
    assert rules.passed_on(fields, body=True) == b'if-none-match: "a", "b"\r\n'


def test_hop_by_hop_and_internal_headers_do_not_pass_outwards() -> None:
    inner = [
        (b"Connection", b"keep-alive"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"3"),
        (b"Server", b"uvicorn"),
        (b"X-Internal", b"1"),
        (b"ETag", b'"a"'),
    ]
    assert rules.answer_headers(inner) == [b'etag: "a"\r\n']


GOOD = {b"host": b"h"}


@pytest.mark.parametrize(
    ("target", "version", "fields"),
    [
        (b"/", "2.0", GOOD),
        (b"http://x/", "1.1", GOOD),
        (b"*", "1.1", GOOD),
        (b"/a#b", "1.1", GOOD),
        (b"/", "1.1", {}),
        (b"/", "1.0", {b"transfer-encoding": b"chunked"}),
        (b"/", "1.1", GOOD | {b"transfer-encoding": b"gzip, chunked"}),
        (b"/", "1.1", GOOD | {b"content-length": b"1", b"upgrade": b"h2c"}),
    ],
)
def test_a_wrong_head_is_refused(target: bytes, version: str, fields: dict[bytes, bytes]) -> None:
    with pytest.raises(LeaderboardError) as refusal:
        rules.check_head(target, version, fields)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("1.1", GOOD),
        ("1.0", {}),
        ("1.1", GOOD | {b"content-length": b"0"}),
        ("1.1", GOOD | {b"upgrade": b"h2c"}),
        ("1.1", GOOD | {b"transfer-encoding": b"Chunked"}),
        ("1.1", GOOD | {b"content-length": b"9"}),
    ],
)
def test_a_right_head_passes(version: str, fields: dict[bytes, bytes]) -> None:
    rules.check_head(b"/v1/games?x=y", version, fields)


@pytest.mark.parametrize(
    ("fields", "says_so"),
    [
        ({}, False),
        ({b"content-length": b"0"}, False),
        ({b"content-length": b"000"}, False),
        ({b"content-length": b"10"}, True),
        ({b"transfer-encoding": b"chunked"}, True),
    ],
)
def test_a_head_says_whether_a_body_follows(fields: dict[bytes, bytes], says_so: bool) -> None:
    assert rules.announces_body(fields) is says_so


def test_an_unknown_status_still_has_a_line() -> None:
    assert rules.status_line(200) == b"HTTP/1.1 200 OK\r\n"
    assert rules.status_line(299) == b"HTTP/1.1 299 \r\n"
