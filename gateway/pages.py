"""What the gateway answers by itself: its health, and the pages people look at."""

from __future__ import annotations

from html import escape

import orjson

from gateway.openapi import document
from gateway.routes import ROUTES
from shared.asgi import JSON, Reply

PAGE = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]

INDEX = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Leaderboard</title>
<h1>Leaderboard</h1><p>The API is at <code>/v1</code>; <a href="/docs">its description</a>.</p></html>
"""

DOCS = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Leaderboard API</title>
<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}
td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}code{font-size:.9em}</style>
<h1>Leaderboard API</h1>
<p>The whole description, for tools: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1).
Send a key as <code>Authorization: Bearer &lt;key&gt;</code>; <code>submit</code> includes <code>read</code>,
<code>admin</code> includes both. Errors are <code>application/problem+json</code>.</p>
<table><tr><th>Call<th>Scope<th>What it does</tr>
"""


class Pages:
    """Whole answers, ready made, by path."""

    def __init__(self) -> None:
        self._pages = {
            b"/": Reply(200, INDEX, PAGE),
            b"/healthz": Reply(200, b'{"status":"ok"}'),
            b"/docs": Reply(200, _docs(), PAGE),
            b"/openapi.json": Reply(200, orjson.dumps(document()), [JSON]),
        }

    def find(self, method: bytes, path: bytes) -> Reply | None:
        """Return the page at a path, or None."""
        page = self._pages.get(path)
        return page if page is not None and method in (b"GET", b"HEAD") else None


def _docs() -> bytes:
    rows = (
        f"<tr><td><code>{route.method} {escape(route.pattern)}</code>"
        f"<td>{route.scope}<td>{escape(route.summary)}</tr>\n"
        for route in ROUTES
    )
    return f"{DOCS}{''.join(rows)}</table></html>\n".encode()
