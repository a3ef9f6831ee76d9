"""Every error a caller can see: one small tree, one table of codes.

A service raises `LeaderboardError` (or a subclass that carries data); the outermost
ASGI wrapper turns it into an RFC 9457 problem. The table below is the only place where
a code meets its HTTP status, so documentation and clients can be generated from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Kind(NamedTuple):
    """What an error code means over HTTP."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "malformed_json": Kind(400, "The body is not JSON"),
    "malformed_request": Kind(400, "The request is not HTTP as it is accepted here"),
    "request_timeout": Kind(408, "The request did not arrive in time"),
    "head_too_large": Kind(431, "The request's head is too large"),
    "invalid_request": Kind(422, "The request breaks a rule"),
    "score_out_of_bounds": Kind(422, "A score is outside the bounds of a leaderboard"),
    "score_total_out_of_range": Kind(422, "A total would leave the range of exact integers"),
    "session_too_old": Kind(422, "The session is older than the history kept"),
    "unauthorized": Kind(401, "A valid key is required"),
    "forbidden": Kind(403, "The key does not allow this"),
    "not_found": Kind(404, "There is nothing here"),
    "game_not_found": Kind(404, "There is no such game"),
    "leaderboard_not_found": Kind(404, "There is no such leaderboard"),
    "user_not_found": Kind(404, "There is no such user"),
    "entry_not_found": Kind(404, "The user has no entry here"),
    "session_not_found": Kind(404, "There is no such session"),
    "season_not_found": Kind(404, "There is no such season"),
    "method_not_allowed": Kind(405, "The method is not allowed here"),
    "session_conflict": Kind(409, "The session was recorded with other content"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body must be application/json"),
    "rate_limited": Kind(429, "Too many requests"),
    "internal": Kind(500, "Something went wrong on our side"),
    "bad_gateway": Kind(502, "A service answered nonsense"),
    "upstream_unavailable": Kind(503, "A service cannot be reached"),
    "overloaded": Kind(503, "Too much is waiting already"),
    "leaderboard_building": Kind(503, "The leaderboard is being built"),
    "deadline_exceeded": Kind(504, "The answer did not come in time"),
}

# The contract names one code for two statuses in two places; the wire code is the contract's.
WIRE_CODES = {
    "malformed_json": "invalid_request",
    "malformed_request": "invalid_request",
    "request_timeout": "invalid_request",
    "head_too_large": "invalid_request",
    "bad_gateway": "upstream_unavailable",
}


class FieldError(NamedTuple):
    """One broken rule: `path` is where (`results[0].score`), `message` is the rule."""

    path: str
    message: str


class LeaderboardError(Exception):
    """A failure with a stable code; `detail` is written for the caller and leaks nothing."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        if retry_after is None and self.status in (429, 503):
            self.retry_after = 1

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return KINDS[self.code].status


def invalid(path: str, message: str) -> LeaderboardError:
    """Build the 422 that names one field and the rule it breaks."""
    detail = f"{path}: {message}" if path else message
    return LeaderboardError("invalid_request", detail, errors=[FieldError(path, message)])


def not_found(what: str, detail: str) -> LeaderboardError:
    """Build the 404 for a `game`, `leaderboard`, `user`, `entry`, `session` or `season`."""
    return LeaderboardError(f"{what}_not_found", detail)


class StoreUnavailable(Exception):
    """Postgres or Redis cannot be reached or did not answer in time.

    Raised where driver errors are translated; services decide what it means for the caller.
    """
