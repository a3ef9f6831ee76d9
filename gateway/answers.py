"""How answers are written: headers every one carries, CORS, compression, problems."""

from __future__ import annotations

import re
import zlib
from email.utils import formatdate

from gateway.request import Request
from gateway.routes import HOME, NOWHERE
from gateway.rules import Headers, answer_headers, status_line
from shared.asgi import problem
from shared.errors import LeaderboardError

HYGIENE = b"x-content-type-options: nosniff\r\nreferrer-policy: no-referrer\r\n"
"""On every answer."""

API_POLICY = b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
"""On every answer that is no page; pages bring a policy of their own."""

COMPRESSED_FROM = 2048
"""Bytes from which compressing an answer is worth the time (about 15 us per KiB)."""

EXPOSED = (
    b"access-control-expose-headers: etag, idempotent-replayed, retry-after, x-request-id, "
    b"ratelimit-limit, ratelimit-remaining, ratelimit-reset\r\n"
)
ALLOWED = b"authorization, content-type, if-none-match, last-event-id, x-request-id, traceparent, tracestate"

accepts_gzip = re.compile(rb"(?i)(?:^|[ ,])gzip(?=[ ,;]|$)(?! *; *q=0(?:\.0*)?(?:[ ,]|$))").search


class Answers:
    """Writes answers as clients get them.

    Args:
        origins: web origins whose pages may call; `*` for any.
        is_https: whether clients come over TLS (ended before us), so browsers may be told to insist.
    """

    def __init__(self, origins: tuple[str, ...], *, is_https: bool) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._strict = b"strict-transport-security: max-age=31536000\r\n" if is_https else b""
        self._common = b""
        self.tick()

    def tick(self) -> None:
        """Renew what changes with the second."""
        self._common = HYGIENE + self._strict + b"date: %b\r\n" % formatdate(usegmt=True).encode()

    def whole(self, request: Request, status: int, headers: Headers, body: bytes) -> bytes:
        """Write a whole answer."""
        lines = answer_headers(headers)
        if status in (204, 304):
            return self._head(request, status, lines)
        if len(body) >= COMPRESSED_FROM and accepts_gzip(request.fields.get(b"accept-encoding", b"")):
            body = _compress(lines, body)
        lines.append(b"content-length: %d\r\n" % len(body))
        head = self._head(request, status, lines)
        return head if request.method == b"HEAD" else head + body

    def stream_head(self, request: Request, status: int, headers: Headers, length: int | None) -> bytes:
        """Write the head of an answer that comes in pieces."""
        lines = answer_headers(headers)
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
            request.is_chunked = False
        elif request.is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        return self._head(request, status, lines)

    def problem(self, request: Request, error: LeaderboardError) -> bytes:
        """Write an error."""
        reply = problem(error, request.id.decode())
        headers = reply.headers
        if error.status == 401:
            headers = [*headers, (b"www-authenticate", b'Bearer realm="leaderboard"')]
        return self.whole(request, reply.status, headers, reply.body)

    def preflight(self, request: Request, allow: bytes) -> Headers:
        """Return the headers of the answer to OPTIONS, a browser's question before the real one."""
        headers = [(b"allow", allow)]
        if b"access-control-request-method" in request.fields and self._origin(request):
            headers.append((b"access-control-allow-methods", allow))
            headers.append((b"access-control-allow-headers", ALLOWED))
            headers.append((b"access-control-max-age", b"600"))
        return headers

    def _origin(self, request: Request) -> bytes:
        """Return the lines that let the calling page read the answer, if its origin may."""
        origin = request.fields.get(b"origin")
        if origin is None or not self._origins or (origin not in self._origins and b"*" not in self._origins):
            return b""
        return b"access-control-allow-origin: %b\r\nvary: origin\r\n%b" % (origin, EXPOSED)

    def _head(self, request: Request, status: int, lines: list[bytes]) -> bytes:
        if not request.keep_alive:
            lines.append(b"connection: close\r\n")
        if (request.route is not NOWHERE and request.route is not HOME) or status >= 400:
            lines.append(API_POLICY)
        if b"origin" in request.fields:
            lines.append(self._origin(request))
        return b"%b%b%b%bx-request-id: %b\r\n\r\n" % (
            status_line(status),
            b"".join(lines),
            self._common,
            request.limit_lines,
            request.id,
        )


def _compress(lines: list[bytes], body: bytes) -> bytes:
    """Compress a body; adapt the header lines to it."""
    for i, line in enumerate(lines):
        if line.startswith(b"content-encoding:"):
            return body
        # The same content in another form has another strong validator; a weak one covers both.
        if line.startswith(b'etag: "'):
            lines[i] = b"etag: W/" + line[6:]
    lines.append(b"content-encoding: gzip\r\nvary: accept-encoding\r\n")
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
