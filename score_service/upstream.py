"""How receivers of webhooks are reached: one POST over one connection, to an address that was looked at.

A URL that a studio chose must not lead into our own network. So the name is resolved here, once, every
address it has is looked at, and the connection goes to one of these: a name that answers otherwise a moment
later (DNS rebinding) gains nothing. Redirects are answers like others; of an answer only the status is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import IPPROTO_TCP
from urllib.parse import SplitResult, urlsplit

from shared.errors import LeaderboardError, invalid

TIMEOUT = 10.0
"""Seconds an attempt may take, from the name's resolution to the status."""

LINE = 4096
"""Bytes a line of an answer's head may have."""

LINES = 100
"""Lines of interim answers that are passed over."""

NAT64 = ip_network("64:ff9b::/96")

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r\n]")

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Undelivered(Exception):
    """A receiver was not reached, may not be, or did not answer; says why, without the URL."""


async def resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, proto=IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Say whether an address is one of the public Internet, whatever form it comes in."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is None and ip.is_site_local:
            return False
        ip = inner or ip
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def check_url(url: str, *, private: bool) -> None:
    """Check what a webhook's type cannot say of its URL.

    Raises:
        LeaderboardError: `invalid_request`.
    """
    try:
        parts = urlsplit(url)
        fine = bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or "@" in parts.netloc or parts.fragment:
        raise invalid("webhook", "must be a URL with a host, and no user, password or fragment")
    if parts.scheme != "https" and not private:
        raise invalid("webhook", "must be an https URL (WEBHOOK_PRIVATE allows http too)")


class Receivers:
    """Posts to receivers.

    Args:
        private: private addresses may be reached too, and by plain http.
        tls: whom to believe; by default whom the system believes.
        resolve: finds the addresses of a host.
    """

    def __init__(
        self, *, private: bool, tls: ssl.SSLContext | None = None, resolve: Resolve = resolved
    ) -> None:
        self._private = private
        self._tls = tls or ssl.create_default_context()
        self._resolve = resolve

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post JSON once; return the status of the answer.

        Raises:
            Undelivered: there was none.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._post(urlsplit(url), headers, body)
        except TimeoutError as error:
            raise Undelivered(f"no answer within {TIMEOUT:g} s") from error
        except (OSError, ValueError) as error:  # a line too long is a ValueError
            raise Undelivered(f"{type(error).__name__}: {error}"[:200]) from error

    async def _post(self, url: SplitResult, headers: Mapping[str, str], body: bytes) -> int:
        if url.scheme != "https" and not self._private:
            raise Undelivered("is not an https URL")
        host = url.hostname or ""
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(host, port)
        if not self._private and not all(map(is_public, addresses)):
            raise Undelivered("leads to an address that is not public")
        reader, writer = await self._connected(addresses, host, port, is_tls=url.scheme == "https")
        try:
            lines = [
                f"POST {url.path or '/'}{f'?{url.query}' if url.query else ''} HTTP/1.1",
                f"host: {url.netloc}",
                "content-type: application/json",
                f"content-length: {len(body)}",
                "user-agent: gaming-leaderboard",
                "connection: close",
                *(f"{name}: {value}" for name, value in headers.items()),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
            return await _status(reader)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _connected(
        self, addresses: list[str], host: str, port: int, *, is_tls: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failed = OSError("the name has no address")
        for address in addresses:
            try:
                if is_tls:
                    return await asyncio.open_connection(
                        address, port, limit=LINE, ssl=self._tls, server_hostname=host
                    )
                return await asyncio.open_connection(address, port, limit=LINE)
            except OSError as error:
                failed = error
        raise failed


async def _status(reader: asyncio.StreamReader) -> int:
    """Read the status of an answer, passing over interim ones."""
    for _ in range(LINES):
        line = await reader.readline()
        if not line:
            raise Undelivered("the connection was closed without an answer")
        found = _STATUS.match(line)
        if found is not None and not found[1].startswith(b"1"):
            return int(found[1])
        if found is None and line[:5] == b"HTTP/":
            break
    raise Undelivered("what was answered is not HTTP/1.1")


def refused_without_secret() -> LeaderboardError:
    """Build the error of a webhook where nothing could be signed."""
    return invalid("webhook", "needs the setting WEBHOOK_SECRET: announcements are signed")
