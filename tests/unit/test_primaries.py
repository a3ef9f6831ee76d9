"""Which of two primaries is old: the lower timeline of the same system, for as long as that is believed."""

from __future__ import annotations

import pytest

from shared.primaries import BELIEVED, Primaries

OLD, NEW, OTHER = "7001:00000001", "7001:00000002", "7002:00000001"


class Clock:
    """Stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def primaries(clock: Clock) -> Primaries:
    return Primaries(clock)


def test_nothing_is_old_before_anything_was_heard(primaries: Primaries) -> None:
    assert not primaries.is_old(OLD)


def test_of_one_system_the_lower_timeline_is_old(primaries: Primaries) -> None:
    primaries.note(OLD)
    primaries.note(NEW)
    primaries.note(OLD)  # by whoever does not know yet
    assert [primaries.is_old(each) for each in (OLD, NEW, "7001:0000000A")] == [True, False, False]


def test_another_system_is_neither_old_nor_new(primaries: Primaries) -> None:
    primaries.note(NEW)
    assert not primaries.is_old(OTHER)
    primaries.note(OTHER)
    assert not primaries.is_old(NEW)


def test_a_database_put_back_on_purpose_is_locked_out_for_seconds_only(
    primaries: Primaries, clock: Clock
) -> None:
    primaries.note(NEW)
    clock.now += BELIEVED
    assert not primaries.is_old(OLD)
    primaries.note(OLD)
    assert primaries.newest == OLD


@pytest.mark.parametrize(
    "nonsense", ["", "7001:standby", "7001", "7001:0000000G", "\ufffd:00000002", NEW + " "]
)
def test_what_is_no_primary_is_not_noted(primaries: Primaries, nonsense: str) -> None:
    primaries.note(OLD)
    primaries.note(nonsense)
    assert primaries.newest == OLD
    assert not primaries.is_old(nonsense)
