"""What the gateway answers by itself: its health, and the pages people look at."""

from __future__ import annotations

from shared.asgi import Reply

HTML = (b"content-type", b"text/html; charset=utf-8")

INDEX = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Leaderboard</title>
<h1>Leaderboard</h1><p>The API is at <code>/v1</code>; <a href="/docs">its description</a>.</p></html>
"""


class Pages:
    """Whole answers, ready made, by path."""

    def __init__(self) -> None:
        self._pages = {
            b"/": Reply(200, INDEX, [HTML]),
            b"/healthz": Reply(200, b'{"status":"ok"}'),
        }

    def find(self, method: bytes, path: bytes) -> Reply | None:
        """Return the page at a path, or None."""
        page = self._pages.get(path)
        return page if page is not None and method in (b"GET", b"HEAD") else None
