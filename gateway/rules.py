"""What is true of paths and headers on their way through, without any I/O.

Only what is on a list passes inwards: no client can set an internal header, name a hop, or
bring a second framing. Outwards everything passes but hop-by-hop and internal headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote, unquote_to_bytes

from shared.errors import LeaderboardError

Headers = list[tuple[bytes, bytes]]

FORWARDED = (b"accept", b"if-none-match", b"last-event-id", b"traceparent", b"tracestate")
"""Request headers a service gets to see."""

WITH_BODY = (*FORWARDED, b"content-type")
"""Those it gets to see of a request that has a body."""

SINGLE = frozenset(
    {b"host", b"authorization", b"content-type", b"content-length", b"transfer-encoding", b"origin"}
)
"""Headers that may stand once: two of them are two readings of one request."""

_WANTED = frozenset(
    {
        *WITH_BODY,
        *SINGLE,
        b"connection",
        b"expect",
        b"upgrade",
        b"accept-encoding",
        b"x-request-id",
        b"x-forwarded-for",
        b"access-control-request-method",
        b"access-control-request-headers",
    }
)

# A look-up per header of every request: the usual spellings are ready, others are lowered first.
WANTED: dict[bytes, bytes] = {
    spelling: name for name in _WANTED for spelling in (name, name.title(), name.upper())
}

DROPPED = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"date",
        b"server",
    }
)
"""Response headers that end here; the gateway frames and dates its own answers."""

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}

is_plain_path = re.compile(rb"(?:/[A-Za-z0-9][A-Za-z0-9_.:@-]*)+").fullmatch
is_request_id = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.:-]{7,127}").fullmatch
is_key_scheme = re.compile(
    rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)"
).fullmatch


def plain_path(path: bytes) -> bytes | None:
    """Return a path in the one spelling that gateway and services agree on, or None.

    Ids have a small alphabet, so nothing needs percent-encoding. Any other path is decoded once and
    written anew, so that both read the same segments: what cannot be an id goes on encoded, for the
    service to say so; what could be read as other segments (`%2F`, `%252F`, `%2e%2e`, `\\`) is no path.
    """
    if is_plain_path(path):
        return path
    segments = [_rewritten(part) for part in path.split(b"/")[1:]]
    return b"/" + b"/".join(segments) if path.startswith(b"/") and all(segments) else None


def _rewritten(part: bytes) -> bytes:
    """Return a segment in its one spelling, or nothing when it is none or may be more than one."""
    plain = unquote_to_bytes(part)
    if plain in (b".", b"..") or not plain.isascii() or any(byte in plain for byte in b"/\\%"):
        return b""
    return quote(plain, safe=":@").encode()


def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def passed_on(fields: Mapping[bytes, bytes], *, body: bool) -> bytes:
    """Render the request headers a service gets to see."""
    lines = b""
    wanted = WITH_BODY if body else FORWARDED
    if fields.keys().isdisjoint(wanted):
        return lines
    named = fields.get(b"connection", b"").lower()
    for name in wanted:
        value = fields.get(name)
        # A header that `Connection` names is for this hop only (RFC 9110, 7.6.1).
        if value is not None and not (named and name in named):
            if name == b"if-none-match":
                # Validators are compared weakly here (RFC 9110, 13.1.2), and compressing made some weak.
                value = value.replace(b"W/", b"")
            lines += name + b": " + value + b"\r\n"
    return lines


def answer_headers(headers: Headers) -> list[bytes]:
    """Render the response headers that pass outwards."""
    return [start + value + b"\r\n" for name, value in headers if (start := _outward(name))]


@lru_cache(maxsize=1024)
def _outward(raw: bytes) -> bytes:
    """Return how the line of a header begins that passes outwards; nothing for one that does not."""
    name = raw.lower()
    return b"" if name in DROPPED or name.startswith(b"x-") else name + b": "


def check_head(target: bytes, version: str, fields: Mapping[bytes, bytes]) -> None:
    """Refuse a head that the parser let pass and a proxy must not.

    Raises:
        LeaderboardError: 400, saying what is wrong.
    """
    if version not in ("1.1", "1.0"):
        raise bad_request("this speaks HTTP/1.1")
    if not target.startswith(b"/") or b"#" in target:
        raise bad_request("the target must be a path")
    if b"host" not in fields and version == "1.1":
        raise bad_request("a request names its host")
    framed = fields.get(b"transfer-encoding")
    if framed is not None and (version == "1.0" or framed.lower() != b"chunked"):
        raise bad_request("the only transfer encoding is chunked, over HTTP/1.1")
    if b"upgrade" in fields and announces_body(fields):
        raise bad_request("nothing else is spoken here")


def announces_body(fields: Mapping[bytes, bytes]) -> bool:
    """Say whether a head, once checked, is followed by a body of at least a byte (or in chunks)."""
    length = fields.get(b"content-length")
    return (length is not None and length.strip(b"0") != b"") or b"transfer-encoding" in fields


BODILESS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods whose requests have no body here: one that came with one is refused, and its connection closed."""


def bad_request(detail: str) -> LeaderboardError:
    """Build the 400 for a request that is not HTTP as we accept it."""
    return LeaderboardError("malformed_request", detail)
