"""A thin layer over raw ASGI for the services' hot paths: a call in, a reply out.

Starlette routes and runs the lifespan; handlers are plain functions `Call -> Reply`. Nothing
here knows a game. Errors become RFC 9457 problems in one place: `Endpoint`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

import msgspec
import orjson
from prometheus_client import Counter
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from shared.errors import KINDS, WIRE_CODES, LeaderboardError, StoreUnavailable, invalid
from shared.names import MAX_BODY_BYTES

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)

BODILESS = (204, 304)
"""Statuses whose answers have no body and, of ours, no content-length (RFC 9110, 8.6)."""

JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
DEFAULT_DEADLINE = 10.0
"""Seconds a request may take when no gateway set a deadline."""

UNEXPECTED = Counter("leaderboard_unexpected_errors_total", "Exceptions no one expected, answered with 500.")
PROBLEMS = Counter("leaderboard_problems_total", "Problems answered; `overloaded` is load shed.", ["code"])


class Reply(NamedTuple):
    """A whole answer: status, body bytes, and headers beyond content-length."""

    status: int
    body: bytes
    headers: Headers = [JSON]  # noqa: RUF012  never mutated


class Stream(NamedTuple):
    """An answer without an end: its headers, and what sends the rest."""

    headers: Headers
    run: Callable[[Receive, Send], Awaitable[None]]


class Call:
    """One request, its headers read when they are asked for.

    `params` are those of the path, `state` is what the lifespan yielded.
    """

    __slots__ = ("_began", "_headers", "_receive", "method", "params", "query_string", "state")

    def __init__(
        self,
        method: str,
        params: dict[str, str],
        query: bytes,
        state: Any,
        headers: Headers,
        receive: Receive,
    ) -> None:
        self.method = method
        self.params = params
        self.query_string = query
        self.state = state
        self._headers = dict(headers)
        self._receive = receive
        # The clock of asyncio's and uvloop's loops, without the getpid() of get_running_loop().
        self._began = monotonic()

    @property
    def deadline(self) -> float:
        """When the answer is due, by the running loop's clock, from `x-deadline-ms` (milliseconds left)."""
        left = self.header(b"x-deadline-ms") or b""
        return self._began + (int(left) / 1000 if left.isdigit() and len(left) < 8 else DEFAULT_DEADLINE)

    @property
    def request_id(self) -> str:
        """The id the gateway gave this request, or an empty string."""
        return (self.header(b"x-request-id") or b"").decode("latin-1")

    def header(self, name: bytes) -> bytes | None:
        """Return one header (lower-case name)."""
        return self._headers.get(name)

    def query(self, shape: type[Q]) -> Q:
        """Decode the query string into `shape`.

        Raises:
            LeaderboardError: 422, naming the parameter and the rule.
        """
        found: Q = decode_query(self.query_string, shape)
        return found

    async def body(self) -> bytes:
        """Read the whole body.

        Raises:
            LeaderboardError: 413 past 2 MiB, 415 when it is not declared as JSON.
        """
        if self.header(b"x-body-too-large"):
            raise too_large()
        kind = (self.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise LeaderboardError("unsupported_media_type", "send the body as application/json")
        return await read_body(self._receive)

    async def json(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Read and decode a JSON body.

        Raises:
            LeaderboardError: 400 when it is not JSON, 413, 415, 422 naming the field and the rule.
        """
        return decode(await self.body(), decoder)


@lru_cache(maxsize=4096)
def decode_query(raw: bytes, shape: type[Q]) -> Q:
    """Decode a query string into `shape`; the same few come again and again, so they are kept.

    Raises:
        LeaderboardError: 422, naming the parameter and the rule.
    """
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError as error:
        raise invalid("query", "must be at most 32 percent-encoded UTF-8 parameters") from error
    values = dict(pairs)
    if len(values) != len(pairs):
        raise invalid("query", "a parameter is given twice")
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise field_error(error) from error


async def read_body(receive: Receive) -> bytes:
    """Collect a request body of at most `MAX_BODY_BYTES`."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False):
        if len(body) > MAX_BODY_BYTES:
            raise too_large()
        return body
    chunks = [body]
    size = len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if not message.get("more_body", False):
            return b"".join(chunks)
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large()
        chunks.append(chunk)


def too_large() -> LeaderboardError:
    """Build the 413."""
    return LeaderboardError("body_too_large", f"a body is at most {MAX_BODY_BYTES} bytes")


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a JSON body, turning msgspec's errors into ours."""
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            msgspec.json.decode(body)  # the rule was met before the end: the rest must be JSON too
            raise field_error(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LeaderboardError("malformed_json", f"the body is not JSON: {error}") from error


_FIELDS = {
    "Object contains unknown field ": "is not a field that is known here",
    "Object missing required field ": "is required",
}


def field_error(error: msgspec.ValidationError) -> LeaderboardError:
    """Turn `Expected ... - at `$.results[0].score`` into the 422 that names the field."""
    rule, _, where = str(error).partition(" - at `")
    path = where.rstrip("`").removeprefix("$").removeprefix(".").replace("[...]", "[]")
    for start, meaning in _FIELDS.items():
        if rule.startswith(start):
            name = rule.removeprefix(start).strip("`")
            return invalid(f"{path}.{name}".lstrip("."), meaning)
    # A pattern is shown as people write it: it always matches the whole value.
    rule = rule.replace("\\\\A", "").replace("\\\\Z", "")
    if "(?!me)" in rule:
        rule = rule.replace("(?!me)", "") + " but not 'me'"
    return invalid(path, rule)


def problem(error: LeaderboardError, request_id: str) -> Reply:
    """Encode an error as `application/problem+json` (RFC 9457)."""
    code = WIRE_CODES.get(error.code, error.code)
    PROBLEMS.labels(code).inc()
    document: dict[str, Any] = {
        "type": f"urn:leaderboard:problem:{code}",
        "title": KINDS[error.code].title,
        "status": error.status,
        "code": code,
        "detail": error.detail,
        "request_id": request_id,
    }
    if error.errors:
        document["errors"] = [field._asdict() for field in error.errors]
    headers = [PROBLEM]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return Reply(error.status, orjson.dumps(document), headers)


async def send_reply(send: Send, reply: Reply, *, head_only: bool = False) -> None:
    """Send a whole answer in two ASGI messages."""
    headers = reply.headers
    if reply.status not in BODILESS:
        headers = [*headers, (b"content-length", str(len(reply.body)).encode())]
    start: Message = {"type": "http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if head_only else reply.body})


Handler = Callable[[Call], Awaitable[Reply]]
StreamHandler = Callable[[Call], Awaitable[Stream]]

Steps = Generator[tuple[Any, Any], Any, Reply | None]
"""A short cut: yields (a coalescer, an item), is sent the result, returns the answer; None: the handler's."""

ShortCut = Callable[[Call], Steps]


class Endpoint:
    """A handler as an ASGI application: bounds its time, turns every error into a problem.

    Args:
        handler: answers whatever is asked.
        is_stream: whether its answers have no end.
        short_cut: answers the usual case without a task (see shared.direct).
    """

    __slots__ = ("_handler", "is_stream", "short_cut")

    def __init__(
        self, handler: Handler | StreamHandler, *, is_stream: bool = False, short_cut: ShortCut | None = None
    ) -> None:
        self._handler = handler
        self.is_stream = is_stream
        self.short_cut = short_cut

    @property
    def name(self) -> str:
        """What its handler is called."""
        return self._handler.__name__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        params = scope.get("path_params", {})
        call = Call(
            scope["method"],
            params,
            scope.get("query_string", b""),
            scope.get("state"),
            scope["headers"],
            receive,
        )
        reply = await self.answer(call)
        if isinstance(reply, Stream):
            await send({"type": "http.response.start", "status": 200, "headers": reply.headers})
            await reply.run(receive, send)
        elif reply is not None:
            await send_reply(send, reply, head_only=scope["method"] == "HEAD")

    async def answer(self, call: Call) -> Reply | Stream | None:
        """Return the answer to one request; None when nobody waits for it any more."""
        try:
            return await self._handler(call)
        except LeaderboardError as error:
            return problem(error, call.request_id)
        except ClientDisconnect:
            return None
        except TimeoutError:
            late = LeaderboardError("deadline_exceeded", "the answer did not come in time")
            return problem(late, call.request_id)
        except StoreUnavailable:
            log.warning("a store is unavailable", exc_info=True, extra={"request_id": call.request_id})
            away = LeaderboardError("upstream_unavailable", "the database cannot be reached; try again")
            return problem(away, call.request_id)
        except Exception:  # the outermost wrapper: counted, logged, answered without detail
            UNEXPECTED.inc()
            log.exception("unexpected error", extra={"request_id": call.request_id})
            broken = LeaderboardError("internal", "an unexpected error; it has been logged")
            return problem(broken, call.request_id)
