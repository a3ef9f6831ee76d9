"""One request of a client, as it was received and as it was understood."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.routes import NOWHERE, Route

if TYPE_CHECKING:
    from gateway.home import Wanted
    from gateway.keys import Grant
    from gateway.quota import Take
    from gateway.upstream import Upstream


class Request:
    """A request: filled by `door` as it arrives, then by `service` as it is understood.

    `started` and `deadline` are moments of the loop's clock (seconds, coarse), `began` one of the
    precise clock. `fields` holds the headers the gateway looks at, by lower-case name. `is_stray`: it
    brought a body that its method does not have. `held`: bytes of its body in memory.
    """

    __slots__ = (
        "began",
        "complete",
        "deadline",
        "fields",
        "grant",
        "held",
        "id",
        "in_body",
        "is_chunked",
        "is_stray",
        "keep_alive",
        "limit_lines",
        "method",
        "pieces",
        "route",
        "size",
        "started",
        "takes",
        "target",
        "too_large",
        "upstream",
        "wanted",
    )

    upstream: Upstream
    wanted: Wanted

    def __init__(self, started: float) -> None:
        self.started = started
        self.began = time.perf_counter()
        self.route: Route = NOWHERE
        self.method = b""
        self.deadline = 0.0
        self.target = b""
        self.fields: dict[bytes, bytes] = {}
        self.id = b""
        self.pieces: list[bytes] = []
        self.size = 0
        self.held = 0
        self.complete = False
        self.in_body = False
        self.too_large = False
        self.keep_alive = False
        self.is_stray = False
        self.is_chunked = False
        self.grant: Grant | None = None
        self.limit_lines = b""
        self.takes: tuple[Take, ...] = ()
