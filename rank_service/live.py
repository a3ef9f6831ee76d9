"""Live windows: one page per ranking and size, computed once, the same bytes to every listener."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any

from prometheus_client import Counter, Gauge
from starlette.types import Message, Receive, Send

from rank_service.pages import Pages
from rank_service.rules import View
from rank_service.watch import Watch
from shared.errors import LeaderboardError, StoreUnavailable

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds between two snapshots of one page: at most 10 a second."""

ENTRY_PAUSE = 1.0
"""Seconds between two looks at watched users."""

POLL = 2.0
"""Seconds after which a page is looked at though no event came: events may be lost."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment keeps the connection open."""

PATIENCE = 5.0
"""Seconds a look at a page may take."""

LISTENERS = Gauge("leaderboard_stream_listeners", "Open event streams.")
DROPPED = Counter("leaderboard_stream_dropped_total", "Streams ended because their reader was too slow.")
PAGES = Counter("leaderboard_stream_pages_total", "Snapshots computed for streams.")

ChannelKey = tuple[str, str, str, int]
"""Game, leaderboard, season, limit."""

Find = Callable[[], Coroutine[Any, Any, View]]


class Listener:
    """One open stream: what it sends through, and whom it watches."""

    __slots__ = ("ended", "seen", "send", "task", "user_id")

    def __init__(self, send: Send, user_id: str, seen: bytes) -> None:
        self.send = send
        self.user_id = user_id
        self.seen = seen
        """The id of the last page the reader has, from `Last-Event-ID`."""
        self.task = asyncio.current_task()
        self.ended = False

    def offer(self, data: bytes, *, more: bool = True) -> bool:
        """Send without waiting; False when it would have to wait: the reader is too slow."""
        if self.ended:
            return True  # what is told after the end, as while joining, is for nobody
        message: Message = {"type": "http.response.body", "body": data, "more_body": more}
        sending: Any = self.send(message)
        try:
            sending.send(None)
        except StopIteration:
            self.ended = not more
            return True
        sending.close()
        return False


class Channel:
    """All listeners to one page of one ranking.

    Args:
        find: finds the ranking as it is defined now; it may change under a listener.
        limit: places on the page.
    """

    def __init__(self, pages: Pages, watch: Watch, find: Find, limit: int) -> None:
        self._pages = pages
        self._watch = watch
        self._find = find
        self._limit = limit
        self._listeners: set[Listener] = set()
        self._news = asyncio.Event()
        self._season = ""
        self._spoke = monotonic()
        self._looked = 0.0
        self.leaderboard_id = 0
        self.joining = 0
        """Listeners who wait for their first page."""
        self.running = False

    def __len__(self) -> int:
        return len(self._listeners)

    def __contains__(self, listener: Listener) -> bool:
        return listener in self._listeners

    async def join(self, listener: Listener) -> None:
        """Add a listener and send it what there is: the page, unless it has it, and its user's entry.

        Raises:
            LeaderboardError: the leaderboard or season is gone.
        """
        view = await self._find()
        self.leaderboard_id = view.board.leaderboard_id
        deadline = asyncio.get_running_loop().time() + PATIENCE
        body = await self._pages.top(view, 0, self._limit, deadline)
        self._season = self._season or view.season.id
        self._listeners.add(listener)
        if body.etag != listener.seen:
            listener.seen = body.etag
            self._tell([listener], _event(b"top", body.content, body.etag))
        if listener.user_id:
            event = await self._watch.add(view, listener.user_id, deadline)
            if event is not None:
                self._tell([listener], _event(b"entry", event))

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        self._listeners.discard(listener)
        if listener.user_id and all(other.user_id != listener.user_id for other in self._listeners):
            self._watch.remove(listener.user_id)

    def notice(self, users: Iterable[str]) -> None:
        """Take note that entries of the ranking changed."""
        self._watch.notice(users)
        self._news.set()

    def end(self) -> None:
        """End every stream, for a shutdown."""
        for listener in list(self._listeners):
            listener.offer(b"", more=False)

    async def run(self) -> None:
        """Keep listeners up to date for as long as there are any."""
        try:
            while self._listeners:
                await self._turn()
        finally:
            self.running = False

    async def _turn(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await self._news.wait()
        self._news.clear()
        await self._look()
        await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        try:
            view = await self._find()
            deadline = asyncio.get_running_loop().time() + PATIENCE
            await self._look_at_page(view, deadline)
            if self._watch.pending:
                await self._look_at_users(view, deadline)
        except (LeaderboardError, StoreUnavailable, TimeoutError) as error:
            log.warning("a stream could not be brought up to date: %s", error)
        if monotonic() - self._spoke >= HEARTBEAT:
            self._tell(self._listeners, b":\n\n")

    async def _look_at_page(self, view: View, deadline: float) -> None:
        body = await self._pages.top(view, 0, self._limit, deadline)
        if view.season.id != self._season:
            self._season = view.season.id
            self._tell(self._listeners, _event(b"season", body.content))
        # By listener, because one may have joined with a page that was old by the time it was added.
        behind = [listener for listener in self._listeners if listener.seen != body.etag]
        if behind:
            PAGES.inc()
            for listener in behind:
                listener.seen = body.etag
            self._tell(behind, _event(b"top", body.content, body.etag))

    async def _look_at_users(self, view: View, deadline: float) -> None:
        wait = self._looked + ENTRY_PAUSE - monotonic()
        if wait > 0:
            self._news.set()  # so that the next turn comes soon
            return
        self._looked = monotonic()
        for user_id, content in (await self._watch.look(view, deadline)).items():
            told = [listener for listener in self._listeners if listener.user_id == user_id]
            self._tell(told, _event(b"entry", content))

    def _tell(self, listeners: Iterable[Listener], message: bytes) -> None:
        self._spoke = monotonic()
        for listener in list(listeners):
            if not listener.offer(message):
                DROPPED.inc()
                self.leave(listener)
                if listener.task is not None:
                    listener.task.cancel()


def _event(name: bytes, data: bytes, event_id: bytes = b"") -> bytes:
    identity = b"id: %b\n" % event_id if event_id else b""
    return b"event: %b\n%bdata: %b\n\n" % (name, identity, data)


class Live:
    """All channels of this process.

    Args:
        most: open streams at once; past it `overloaded`.
    """

    def __init__(self, pages: Pages, watches: Callable[[], Watch], *, most: int) -> None:
        self._pages = pages
        self._watches = watches
        self._most = most
        self._open = 0
        self._channels: dict[ChannelKey, Channel] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return self._open

    def check(self) -> None:
        """Raise `overloaded` when there is no room for another stream."""
        if self._open >= self._most:
            raise LeaderboardError("overloaded", "too many streams are open", retry_after=5)

    async def serve(
        self, key: ChannelKey, find: Find, user_id: str, seen: bytes, receive: Receive, send: Send
    ) -> None:
        """Send events until the reader leaves."""
        listener = Listener(send, user_id, seen)
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(self._pages, self._watches(), find, key[3])
        self._open += 1
        channel.joining += 1
        LISTENERS.set(self._open)
        try:
            try:
                if not await self._joined(channel, listener):
                    return
            finally:
                channel.joining -= 1
            self._keep_running(key, channel)
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            # Cancelled by `_tell`: the reader was too slow and is cut off. Anything else goes on up.
            if listener in channel:
                raise
        finally:
            self._open -= 1
            LISTENERS.set(self._open)
            channel.leave(listener)
            if not len(channel) and not channel.joining:
                self._channels.pop(key, None)

    def notice(self, leaderboard_id: int, users: Iterable[str]) -> None:
        """Take note that entries of a leaderboard changed."""
        for channel in self._channels.values():
            if channel.leaderboard_id == leaderboard_id:
                channel.notice(users)

    def notice_all(self) -> None:
        """Take note that anything may have changed: a profile, a definition, or events were missed."""
        for channel in self._channels.values():
            channel.notice(())

    def end(self) -> None:
        """End every stream there is: the process is about to stop."""
        for channel in self._channels.values():
            channel.end()

    async def close(self) -> None:
        """Stop the channels."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _joined(self, channel: Channel, listener: Listener) -> bool:
        try:
            await channel.join(listener)
        except (LeaderboardError, StoreUnavailable, TimeoutError) as error:
            log.warning("a stream could not begin: %s", error)
            listener.offer(b"", more=False)  # the reader tries again
            return False
        return True

    def _keep_running(self, key: ChannelKey, channel: Channel) -> None:
        if not channel.running:
            channel.running = True
            task = asyncio.create_task(channel.run(), name=f"stream {'/'.join(key[:3])}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
