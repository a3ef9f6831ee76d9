"""Header lines that were parsed once need not be parsed again: the same bytes say the same.

Most clients send the same lines with every request of a connection; what changes is the target. Parsing
them costs a call back for each header, recognising them one comparison. Only a whole request without a
body that came in one piece, in which the parser found nothing unusual, is remembered; anything that
differs in one byte is parsed.
"""

from __future__ import annotations

import re

from gateway.request import Request

MAX_LINES = 4096
"""Bytes of header lines that are remembered, for each connection."""

is_get = re.compile(rb"GET (/[A-Za-z0-9/?&=_.:@,~%+-]{0,2048})").fullmatch
"""A request line of the characters that no parser stumbles over, but for its version."""


class Head:
    """The header lines of a connection's last request, and what they said."""

    __slots__ = ("_fields", "_lines")

    def __init__(self, lines: bytes, fields: dict[bytes, bytes]) -> None:
        self._lines = lines
        self._fields = fields

    @classmethod
    def of(cls, data: bytes, request: Request) -> Head | None:
        """Remember a request that came as `data` and nothing else; None: there is something unusual."""
        line, _, lines = data.partition(b" HTTP/1.1\r\n")
        is_usual = request.complete and request.keep_alive and not request.is_stray
        if not is_usual or b"expect" in request.fields or len(lines) > MAX_LINES or not is_get(line):
            return None
        return cls(lines, request.fields.copy())

    def again(self, data: bytes, now: float) -> Request | None:
        """Return the request that `data` is, if it is one with these very lines."""
        line, _, lines = data.partition(b" HTTP/1.1\r\n")
        if lines != self._lines or (seen := is_get(line)) is None:
            return None
        request = Request(now)
        request.method = b"GET"
        request.target = seen[1]
        request.fields = self._fields.copy()
        request.in_body = request.complete = request.is_chunked = request.keep_alive = True
        return request
