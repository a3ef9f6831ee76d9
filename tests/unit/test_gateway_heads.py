"""Header lines recognised: what is remembered, what is not, and that it says what the parser says."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.heads import Head
from gateway.request import Request

LINES = b"Host: t\r\nAuthorization: Bearer a.b.c\r\nX-Odd: 1\r\n\r\n"
FIELDS = {b"host": b"t", b"authorization": b"Bearer a.b.c"}


def parsed(**changed: bool) -> Request:
    """Return a request as the door leaves it once its head is parsed."""
    request = Request(0.0)
    request.method, request.target, request.fields = b"GET", b"/a", dict(FIELDS)
    request.complete = request.keep_alive = request.is_chunked = request.in_body = True
    for name, value in changed.items():
        setattr(request, name, value)
    return request


def test_the_same_lines_say_the_same_of_another_target() -> None:
    head = Head.of(b"GET /a HTTP/1.1\r\n" + LINES, parsed())
    assert head is not None
    request = head.again(b"GET /b?c=1 HTTP/1.1\r\n" + LINES, 5.0)
    assert request is not None
    usual = parsed()
    usual.target, usual.started, usual.began = b"/b?c=1", 5.0, request.began
    assert all(getattr(request, name) == getattr(usual, name) for name in SET)
    request.fields.clear()  # whoever changes them changes nobody else's
    again = head.again(b"GET /b HTTP/1.1\r\n" + LINES, 5.0)
    assert again is not None
    assert again.fields == FIELDS


SET = [name for name in Request.__slots__ if name not in ("upstream", "wanted")]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /b HTTP/1.1\r\n" + LINES + b"G",
        b"GET /b HTTP/1.1\r\n" + LINES[:-1],
        b"GET /b HTTP/1.1\r\n" + LINES.replace(b"X-Odd: 1", b"X-Odd: 2"),
        b"GET /b HTTP/1.0\r\n" + LINES,
        b"HEAD /b HTTP/1.1\r\n" + LINES,
        b"POST /b HTTP/1.1\r\n" + LINES,
        b"\r\nGET /b HTTP/1.1\r\n" + LINES,
        b"GET  /b HTTP/1.1\r\n" + LINES,
        b"GET /b#c HTTP/1.1\r\n" + LINES,
        b"GET /b\tc HTTP/1.1\r\n" + LINES,
        b"GET /\xff HTTP/1.1\r\n" + LINES,
        b"GET b HTTP/1.1\r\n" + LINES,
        b"GET http://t/b HTTP/1.1\r\n" + LINES,
        b"GET /b HTTP/1.1\r\nX: HTTP/1.1\r\n" + LINES,
        b"GET /" + b"b" * 2049 + b" HTTP/1.1\r\n" + LINES,
    ],
)
def test_whatever_differs_is_parsed(data: bytes) -> None:
    head = Head.of(b"GET /a HTTP/1.1\r\n" + LINES, parsed())
    assert head is not None
    assert head.again(data, 0.0) is None


@pytest.mark.parametrize(
    "changed", [{"complete": False}, {"keep_alive": False}, {"is_stray": True}, {"fields": {b"expect": b"x"}}]
)
def test_an_unusual_request_is_not_remembered(changed: dict[str, bool]) -> None:
    assert Head.of(b"GET /a HTTP/1.1\r\n" + LINES, parsed(**changed)) is None


class Parsed:
    """What the parser finds in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.url, self.ends = b"", 0
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        self.ends += 1


@given(st.binary(max_size=12).map(lambda end: b"/" + end) | st.from_regex(rb"/[!-~]{0,30}", fullmatch=True))
def test_a_target_that_is_recognised_is_the_one_the_parser_finds(target: bytes) -> None:
    head = Head.of(b"GET /a HTTP/1.1\r\n" + LINES, parsed())
    assert head is not None
    data = b"GET %b HTTP/1.1\r\n" % target + LINES
    request = head.again(data, 0.0)
    if request is not None:
        assert (request.target, target) == (target, Parsed(data).url)
        assert Parsed(data).ends == 1
