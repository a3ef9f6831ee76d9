"""What everything is measured against: Starlette and uvicorn answering a constant page of ten entries."""

from __future__ import annotations

import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PAGE = {
    "leaderboard": "global",
    "total": 1_000_000,
    "source": "index",
    "as_of": "2026-01-01T00:00:00.000000Z",
    "entries": [
        {"rank": i, "user_id": f"u{i}", "display_name": None, "country": None, "score": 9000 - i, "ties": 1}
        for i in range(1, 11)
    ],
}


async def hello(_: Request) -> Response:
    """Answer the page, encoded anew."""
    return Response(orjson.dumps(PAGE), media_type="application/json")


app = Starlette(routes=[Route("/", hello)])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
