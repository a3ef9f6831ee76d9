"""How much one caller may ask: token buckets, per key and per client address, in this process.

A bucket holds up to `burst` tokens and gains `rate` of them a second; a request takes one. Several
gateways share no buckets unless told to (`quota`): with n of them, a caller gets up to n times the rate.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from shared.errors import LeaderboardError

MAX_BUCKETS = 100_000
"""Callers remembered; past it those whose bucket has filled up again are forgotten, then all."""

Network = IPv4Network | IPv6Network


class Verdict(NamedTuple):
    """What a bucket says: whether the request may go on, and the numbers callers are told.

    `reset` is in whole seconds: until the bucket is full, or, when refused, until the next token.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int

    @property
    def lines(self) -> bytes:
        """The response headers that say so."""
        return b"ratelimit-limit: %d\r\nratelimit-remaining: %d\r\nratelimit-reset: %d\r\n" % self[1:]

    def refusal(self) -> LeaderboardError:
        """Build the 429."""
        detail = "too many requests; see the RateLimit headers"
        return LeaderboardError("rate_limited", detail, retry_after=self.reset)


class Buckets:
    """Token buckets by caller.

    Args:
        name: what they are for: `key` or `address`.
        rate: tokens a second; 0 turns the limit off.
        burst: tokens a bucket holds.
    """

    def __init__(self, name: str, rate: float, burst: int) -> None:
        self.name = name
        self.rate = rate
        self.burst = burst
        # When each bucket will be full, in seconds of the caller's clock: one number is the whole
        # state of a token bucket (the "generic cell rate algorithm").
        self._full_at: dict[str, float] = {}

    def take(self, caller: str, now: float) -> Verdict | None:
        """Take a token; None when there is no limit."""
        if not self.rate:
            return None
        full_at = max(self._full_at.get(caller, now), now) + 1 / self.rate
        remaining = self.burst - (full_at - now) * self.rate
        if remaining < -1e-9:
            wait = -remaining / self.rate
            return Verdict(False, self.burst, 0, int(wait) + 1)
        if len(self._full_at) >= MAX_BUCKETS and caller not in self._full_at:
            self._forget(now)
        self._full_at[caller] = full_at
        return Verdict(True, self.burst, int(remaining + 1e-9), int(full_at - now) + 1)

    def _forget(self, now: float) -> None:
        self._full_at = {caller: at for caller, at in self._full_at.items() if at > now}
        if len(self._full_at) >= MAX_BUCKETS:
            self._full_at.clear()


class Proxies:
    """Which peers may say, with `X-Forwarded-For`, on whose behalf they call."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
        self.trusts = lru_cache(maxsize=4096)(self._trusts)

    def _trusts(self, address: str) -> bool:
        """Say whether an address is one of the configured proxies."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded: bytes) -> str:
        """Return the address of who really asks.

        The list is read from the right, as each proxy appends who called it: the first address that
        is not a trusted proxy is the client; what stands further left may be made up.
        """
        client = peer
        for part in reversed(forwarded.decode("latin-1").split(",")):
            if not self.trusts(client):
                break
            client = part.strip() or client
        return client


def group(address: str) -> str:
    """Return what an address counts as: a whole /64 of IPv6, since a host has that many."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed) >> 64 << 64, 64)))
