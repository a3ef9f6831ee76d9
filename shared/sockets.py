"""A Unix socket to serve on: private from the start, a dead one replaced, a living one left alone."""

from __future__ import annotations

import errno
import os
import socket
import stat

MAX_BYTES = 100
"""Bytes of a path. Linux takes 107, macOS 103; the end of a name must not be what decides."""

NO_OTHERS = 0o117
"""The mask that leaves reading and writing, which is connecting, to our user and group."""


def fits(path: str) -> bool:
    """Say whether a socket may have this path: it is short, and can stand in a list with commas."""
    return len(os.fsencode(path)) <= MAX_BYTES and "," not in path


class Listener:
    """A listening socket and its file.

    A process that is killed leaves the file: it refuses connections, and whoever starts there next takes its
    place.

    Raises:
        OSError: somebody listens there, something else is there, or there may be no file there.
    """

    def __init__(self, path: str, backlog: int) -> None:
        _make_way(path)
        self._path = path
        self.socket = socket.socket(socket.AF_UNIX)
        before = os.umask(NO_OTHERS)
        try:
            self.socket.bind(path)
            self.socket.listen(backlog)
            self._file = _identity(path)
        except OSError:
            self.socket.close()
            raise
        finally:
            os.umask(before)

    def remove(self) -> None:
        """Remove the file, if it is still ours.

        Before the socket is closed: nobody else takes its place till then, nor gets its inode's number.
        """
        if _identity(self._path) == self._file:
            os.unlink(self._path)


def _make_way(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:  # nobody listens, on a socket or on any other file
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                os.unlink(path)
                return
            raise FileExistsError(errno.EEXIST, "this is no socket", path) from None
        except BlockingIOError:  # somebody does, and is behind
            pass
    raise OSError(errno.EADDRINUSE, "another process listens here", path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
