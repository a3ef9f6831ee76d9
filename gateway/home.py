"""The page at `/`: the standings as plain HTML, so that there is something to see before any script runs.

The rows are asked of rank_service like any other read; when it cannot answer, the page says so
and its script goes on trying.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

import orjson

from gateway.exchange import Exchange
from gateway.pages import HTML, POLICY, preload, read
from gateway.request import Request
from gateway.wire import Headers
from shared.asgi import Reply
from shared.errors import LeaderboardError
from shared.names import SLUG_PATTERN, is_user_id

if TYPE_CHECKING:
    from gateway.door import Door
    from gateway.service import Gateway

PAGE_SIZE = 25
"""Places on a page; `gateway/web/board.js` shows as many."""

MAX_OFFSET = 1_000_000_000
HUES = 12

AROUND = 12
"""Places on each side of a player; `gateway/web/board.js` shows as many."""

MODULES = (
    "api", "board", "charts", "client", "dom", "head", "header", "live", "me", "paging", "player", "rows",
    "side", "tables",
)  # fmt: skip
"""What the page's script imports."""

is_slug = re.compile(SLUG_PATTERN).fullmatch
is_season = re.compile(r"[A-Za-z0-9:.+-]{1,40}").fullmatch


class Wanted:
    """What a request for the page asks to see; what makes no sense falls back to the first page."""

    def __init__(self, query: bytes, games: tuple[str, ...]) -> None:
        given = {name: values[0] for name, values in parse_qs(query.decode("latin-1")).items()}
        self.game = given.get("game") or (games[0] if games else "")
        board, season, offset = given.get("board", ""), given.get("season", ""), given.get("offset", "")
        self.board = board if is_slug(board) else "global"
        self.season = season if is_season(season) else "current"
        self.offset = min(int(offset), MAX_OFFSET) if offset.isdecimal() and len(offset) < 12 else 0
        around = given.get("around", "")
        self.around = around if is_user_id(around) else ""
        self.is_public = self.game in games and "player" not in given

    @property
    def target(self) -> bytes:
        """The call of the API whose answer is shown."""
        path = f"/v1/games/{self.game}/leaderboards/{self.board}"
        if self.around:
            query = urlencode({"radius": AROUND, "season": self.season})
            return f"{path}/users/{quote(self.around)}/around?{query}".encode()
        query = urlencode({"limit": PAGE_SIZE, "offset": self.offset, "season": self.season})
        return f"{path}/top?{query}".encode()

    def link(self, offset: int, text: str) -> str:
        """Return a link to another page of the same standings."""
        query = {"game": self.game, "board": self.board, "season": self.season, "offset": max(offset, 0)}
        return f'<a class="button" href="/?{escape(urlencode(query))}">{text}</a>'


class Home:
    """Writes the page."""

    def __init__(self, games: tuple[str, ...]) -> None:
        self.games = games
        shell = read("index.html").replace("{{games}}", escape(",".join(games)))
        self._shell = shell.replace("{{preload}}", preload(*MODULES))

    def wanted(self, query: bytes) -> Wanted:
        """Read what is asked for."""
        return Wanted(query, self.games)

    def page(self, wanted: Wanted, top: dict[str, Any] | None) -> Reply:
        """Return the page with the rows of an answer to `top`, or without any."""
        entries = top["entries"] if top else []
        filled = {
            "title": f"{wanted.board} · {wanted.game}" if wanted.is_public else "Leaderboard",
            "game": escape(wanted.game) if wanted.is_public else "",
            "heading": wanted.board if wanted.is_public else "Leaderboard",
            "facts": f"{top['total']:,} players · as of {top['as_of'][11:19]} UTC" if top else "",
            "rows": "\n".join(_row(wanted, entry) for entry in entries),
            "state": " hidden>" if entries else f">{_why_empty(wanted, top)}",
            "pages": _pages(wanted, top) if top else "",
        }
        parts = re.split(r"\{\{(\w+)\}\}", self._shell)
        parts[1::2] = [filled[name] for name in parts[1::2]]
        return Reply(200, "".join(parts).encode(), [HTML, POLICY, (b"cache-control", b"no-store")])


ROW = """<tr class="r{place}" data-user="{user_id}"><td class="rank"><span class="place">
<span class="number">{rank:,}</span></span></td>
<td class="who"><span class="person"><span class="face h{hue}" aria-hidden="true">{initial}</span>
<span class="names"><span class="line"><a href="{link}"><bdi>{name}</bdi></a>{flag}</span></span></span></td>
<td class="score"><span>{score:,}</span>{shared}</td></tr>"""


def _row(wanted: Wanted, entry: dict[str, Any]) -> str:
    user_id, rank, ties = entry["user_id"], entry["rank"], entry["ties"]
    name = entry["display_name"] or user_id
    return ROW.format(
        place=rank,
        user_id=escape(user_id),
        rank=rank,
        shared=f"<small>{ties:,} tied</small>" if ties > 1 else "",
        hue=sum(user_id.encode()) % HUES,
        initial=escape(name[0].upper()),
        link=escape("/?" + urlencode({"game": wanted.game, "player": user_id})),
        name=escape(name),
        flag=_flag(entry["country"]),
        score=entry["score"],
    )


def _flag(country: str | None) -> str:
    if not country:
        return ""
    letters = "".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in country)
    return f'<span class="flag" role="img" aria-label="{escape(country)}">{letters}</span>'


def _why_empty(wanted: Wanted, top: dict[str, Any] | None) -> str:
    if top is not None:
        return "<strong>Nobody is here yet</strong>"
    if not wanted.is_public:
        return "<strong>Which game?</strong><span>Reading it needs a key, or JavaScript.</span>"
    return (
        "<strong>The standings cannot be reached right now</strong><span>Please try again in a moment.</span>"
    )


def _pages(wanted: Wanted, top: dict[str, Any]) -> str:
    if wanted.around:
        return wanted.link(0, "Top")
    before = wanted.link(wanted.offset - PAGE_SIZE, "Previous") if wanted.offset else ""
    last = wanted.offset + len(top["entries"])
    after = wanted.link(last, "Next") if last < top["total"] and top["entries"] else ""
    return before + after


class HomeExchange(Exchange):
    """Asks rank_service for the rows and answers with the page, whatever became of it."""

    __slots__ = ("_pieces",)

    def __init__(self, gateway: Gateway, door: Door, request: Request) -> None:
        super().__init__(gateway, door, request)
        self._pieces: list[bytes] = []

    def answered(self, status: int, _: Headers, body: bytes) -> None:
        """Send the page."""
        self._wire = None
        try:
            top = orjson.loads(body) if status == 200 else None
        except orjson.JSONDecodeError:  # nonsense is no reason to show nothing
            top = None
        self._send(top)

    def begun(self, status: int, _: Headers, __: int | None) -> None:
        """Note the status of an answer that comes in pieces."""
        self._status = status

    def piece(self, data: bytes) -> None:
        """Keep a piece; a page of 25 entries is small."""
        self._pieces.append(data)

    def ended(self) -> None:
        """Send the page."""
        self.answered(self._status, [], b"".join(self._pieces))

    def lost(self, *, odd: bool) -> None:
        """Ask again if nothing was answered; half an answer is none."""
        self._pieces.clear()
        odd = odd or bool(self._status)
        self._status = 0
        super().lost(odd=odd)

    def _refuse(self, _: LeaderboardError) -> None:
        self._send(None)

    def _send(self, top: dict[str, Any] | None) -> None:
        reply = self._gateway.home.page(self._request.wanted, top)
        self._door.write(self._gateway.answers.whole(self._request, 200, reply.headers, reply.body))
        self._door.finish(self._request, 200)
