"""Many requests at once on one connection between the gateway and a service: the format.

The gateway asks for it by an upgrade (RFC 9110, 7.8): `ASK`, answered by `ACCEPTED`; any other answer says
that each request needs a connection of its own. From then on both send frames: a length and a number, four
bytes each, most significant first, and a payload of that length. A request's payload is an HTTP/1.1 message,
whole, its number is new. It is answered by one frame of its number, in any order: an HTTP/1.1 message, whole.
An empty answer says that nothing was done, so the request may be made another way. An empty request says that
its answer is not wanted any more; it is answered all the same, if it has not been yet, and may be by nothing.

Where a message ends is said by its frame alone. What reads a message takes it whole or not at all, so no
message can reach into another.
"""

from __future__ import annotations

from struct import Struct

ASK = b"GET /frames HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: leaderboard-frames\r\n\r\n"
ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: leaderboard-frames\r\n\r\n"

HEAD = Struct(">II")
"""Length of the payload in bytes, number."""

MAX_NUMBER = 2**32 - 1

TOGETHER = 4
"""Power of two of the part of the requests in flight whose frames leave in one write. A write for each costs
system calls and wake-ups, one for all has both processes wait for each other: with 32 in flight frames leave
almost singly, with hundreds by the dozen (figures in ARCHITECTURE.md)."""

MAX_BODY = 64 * 1024
"""Bytes of a hot request's body; a longer one goes the way of every request, on which its sender waits."""

MAX_REQUEST = 2 * MAX_BODY
"""Bytes of a request, its head included."""

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer: about every result that a request of that size can hold, on every board of a game."""


def frame(number: int, payload: bytes) -> bytes:
    """Return a frame."""
    return HEAD.pack(len(payload), number) + payload


class Splitter:
    """Cuts a stream of bytes into frames.

    Args:
        limit: most bytes of a payload.
    """

    __slots__ = ("_limit", "_missing", "_parts")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        """The beginning of a frame."""
        self._missing = 0
        """Bytes that must come at least before more can be said."""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames (number, payload) that end with `data`.

        Raises:
            ValueError: a payload is said to be longer than `limit`.
        """
        if self._parts:
            self._parts.append(data)
            if len(data) < self._missing:
                self._missing -= len(data)
                return []
            data = b"".join(self._parts)
            self._parts = []
        found: list[tuple[int, bytes]] = []
        at, size = 0, len(data)
        while size - at >= HEAD.size:
            length, number = HEAD.unpack_from(data, at)
            if length > self._limit:
                raise ValueError(f"a payload of {length} bytes")
            end = at + HEAD.size + length
            if end > size:
                self._missing = end - size
                break
            found.append((number, data[at + HEAD.size : end]))
            at = end
        else:
            self._missing = HEAD.size - (size - at)
        if at < size:
            self._parts.append(data[at:])
        return found
