"""What the gateway answers by itself: its health, its description, and the files of the web page."""

from __future__ import annotations

import hashlib
from html import escape
from pathlib import Path
from typing import Any

import orjson

from gateway.openapi import document
from gateway.request import Request
from shared.asgi import JSON, Reply

WEB = Path(__file__).parent / "web"

SOURCES = b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
REST = b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
POLICY = (b"content-security-policy", SOURCES + b"; " + REST)
"""Nothing inline, nothing from elsewhere, and no text that becomes markup."""

HTML = (b"content-type", b"text/html; charset=utf-8")
ASK_AGAIN = (b"cache-control", b"no-cache")
"""Kept by browsers, used after asking whether it still holds: a new version is seen at once."""

TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}


def read(name: str) -> str:
    """Return the text of a file of the web page."""
    return (WEB / name).read_text(encoding="utf-8")


def preload(*names: str) -> str:
    """Return the links by which a browser fetches modules before it has read who imports them."""
    return "\n".join(f'<link rel="modulepreload" href="/web/{name}.js">' for name in names)


class Pages:
    """Whole answers, ready made, by path."""

    def __init__(self) -> None:
        self._pages = {
            b"/healthz": Reply(200, b'{"status":"ok"}'),
            b"/openapi.json": _validated(orjson.dumps(document()), JSON),
            b"/docs": _page(_docs()),
            b"/admin": _page(read("admin.html")),
        }
        for file in WEB.iterdir():
            kind = (b"content-type", TYPES[file.suffix])
            self._pages[b"/web/" + file.name.encode()] = _validated(file.read_bytes(), kind)

    def find(self, request: Request, path: bytes) -> Reply | None:
        """Return the page at a path, 304 when the browser has it, or None."""
        page = self._pages.get(path)
        if page is None or request.method not in (b"GET", b"HEAD"):
            return None
        known = request.fields.get(b"if-none-match")
        if known is not None and any(name == b"etag" and value in known for name, value in page.headers):
            return Reply(304, b"", page.headers)
        return page


def _validated(body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    etag = b'"%b"' % hashlib.blake2b(body, digest_size=9).hexdigest().encode()
    return Reply(200, body, [*headers, (b"etag", etag), ASK_AGAIN])


def _page(text: str) -> Reply:
    return _validated(text.encode(), HTML, POLICY)


def _docs() -> str:
    """Render the description: every call in its group, with its parameters, body and answer."""
    described = document()
    parts: list[str] = []
    for path, calls in described["paths"].items():
        parts += [_call(method.upper(), path, call) for method, call in calls.items()]
    schemas = (
        f'<details id="type-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f'<pre tabindex="0">{_shown(schema)}</pre></details>'
        for name, schema in described["components"]["schemas"].items()
    )
    shell = read("docs.html").replace("{{schemas}}", "\n".join(schemas))
    return shell.replace("{{calls}}", "\n".join(parts))


def _call(method: str, path: str, call: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(each["name"])}</code></th><td>{each["in"]}'
        f"{', required' if each['required'] else ''}</td>"
        f"<td><code>{_shown(each['schema'], None)}</code></td></tr>"
        for each in call["parameters"]
    )
    table = f'<table class="list"><tbody>{rows}</tbody></table>' if rows else ""
    body = _content("Body", call.get("requestBody"))
    answer = _content("Answer", call["responses"].get("200"))
    return (
        f'<details class="call"><summary><span class="chip {method.lower()}">{method}</span> '
        f'<code>{escape(path)}</code> <span class="soft">{escape(call["summary"])}</span></summary>'
        f"<p>{escape(call['description']).replace('`', '')}</p>{table}{body}{answer}"
        f'<pre tabindex="0">{escape(_curl(method, path, call))}</pre></details>'
    )


def _curl(method: str, path: str, call: dict[str, Any]) -> str:
    """Write the call for a terminal; what is in braces is the reader's to fill in."""
    verb = "" if method == "GET" else f" -X {method}"
    body = " -H 'Content-Type: application/json' -d @body.json" if "requestBody" in call else ""
    wanted = [each["name"] for each in call["parameters"] if each["in"] == "query" and each["required"]]
    query = "?" + "&".join(f"{name}={{{name}}}" for name in wanted) if wanted else ""
    return f'curl{verb} -H "Authorization: Bearer $KEY"{body} "$GATEWAY_URL{path}{query}"'


def _content(title: str, held: dict[str, Any] | None) -> str:
    if not held:
        return ""
    kind, content = next(iter(held["content"].items()))
    known = escape(content["schema"].get("$ref", "").rpartition("/")[2])
    name = f'<a href="#type-{known}">{known}</a>' if known else escape(content["schema"].get("type", ""))
    return f"<p><strong>{title}</strong>: <code>{name}</code> as <code>{escape(kind)}</code></p>"


def _shown(value: Any, option: int | None = orjson.OPT_INDENT_2) -> str:
    return escape(orjson.dumps(value, option=option).decode(), quote=False)
