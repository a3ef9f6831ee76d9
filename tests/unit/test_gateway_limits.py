"""Token buckets, and whose address counts."""

from __future__ import annotations

import pytest

from gateway import limits
from gateway.limits import Buckets, Proxies, group


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    buckets = Buckets("key", rate=2, burst=3)
    verdicts = [buckets.take("a", 100.0) for _ in range(4)]
    assert [verdict.allowed for verdict in verdicts if verdict] == [True, True, True, False]
    assert [verdict.remaining for verdict in verdicts if verdict] == [2, 1, 0, 0]
    later = buckets.take("a", 100.5)
    assert later is not None
    assert later.allowed


def test_a_refused_request_costs_nothing() -> None:
    buckets = Buckets("key", rate=1, burst=1)
    buckets.take("a", 0.0)
    for _ in range(100):
        buckets.take("a", 0.5)
    verdict = buckets.take("a", 1.0)
    assert verdict is not None
    assert verdict.allowed


def test_callers_do_not_share_a_bucket() -> None:
    buckets = Buckets("key", rate=1, burst=1)
    verdicts = [buckets.take(caller, 0.0) for caller in "ab"]
    assert all(verdict and verdict.allowed for verdict in verdicts)


def test_a_caller_is_told_when_to_come_again() -> None:
    buckets = Buckets("key", rate=0.1, burst=1)
    buckets.take("a", 0.0)
    verdict = buckets.take("a", 0.0)
    assert verdict is not None
    assert verdict.lines == b"ratelimit-limit: 1\r\nratelimit-remaining: 0\r\nratelimit-reset: 11\r\n"


def test_over_any_time_no_more_than_burst_and_rate_pass() -> None:
    buckets = Buckets("key", rate=10, burst=5)
    allowed = sum(bool(v and v.allowed) for v in (buckets.take("a", step / 1000) for step in range(10_000)))
    assert 10 * 10 + 4 <= allowed <= 10 * 10 + 5


def test_a_rate_of_zero_is_no_limit() -> None:
    assert Buckets("key", rate=0, burst=1).take("a", 0.0) is None


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 10)
    buckets = Buckets("key", rate=1, burst=5)
    for caller in range(100):
        buckets.take(str(caller), 0.0)
    assert len(buckets._full_at) <= 10


PROXIES = Proxies(("10.0.0.0/8", "::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("1.2.3.4", b"9.9.9.9", "1.2.3.4"),
        ("10.0.0.1", b"9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", b"6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", b"9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", b"6.6.6.6, 10.0.0.3, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("::1", b"9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", b"nonsense", "nonsense"),
        ("", b"9.9.9.9", ""),
    ],
)
def test_forwarded_addresses_are_believed_from_proxies_only(peer: str, forwarded: bytes, client: str) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_a_host_cannot_hide_in_its_own_network() -> None:
    assert group("2001:db8:1:2:3::1") == group("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert group("::ffff:9.9.9.9") == "9.9.9.9"
    assert group("fe80::1%eth0") == "fe80::/64"
    assert group("not:an:address") == "not:an:address"
