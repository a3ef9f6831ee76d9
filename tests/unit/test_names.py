"""Identifiers, their limits, the period of a session id."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.names import (
    FIRST_PERIOD,
    clean,
    is_slug,
    is_user_id,
    microseconds,
    period_of,
    rfc3339,
    season_id,
    unix_ms_of,
    uuid7,
)

DAY = 86_400_000


def v7(milliseconds: int) -> UUID:
    """A UUIDv7 of a moment, its random bits all ones."""
    ones = (1 << 80) - 1
    value = (milliseconds << 80 | ones) & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 0b10 << 62)


@pytest.mark.parametrize("good", ["a", "0", "weekly-best_2", "a" * 64])
def test_a_slug_is_lower_case_and_short(good: str) -> None:
    assert is_slug(good)


@pytest.mark.parametrize("bad", ["", "A", "-a", "_a", "a b", "a" * 65, "a\n", "é", "a/b", "a."])
def test_other_slugs_are_refused(bad: str) -> None:
    assert not is_slug(bad)


@pytest.mark.parametrize("good", ["a", "Z", "me2", "Me", "mel", "ada@example.org", "x:1.2_3-4", "9" * 64])
def test_user_ids_are_the_studio_s(good: str) -> None:
    assert is_user_id(good)


@pytest.mark.parametrize("bad", ["", "me", ".a", "@a", "a b", "a" * 65, "ada\n", "é", "a/b", "me\n"])
def test_other_user_ids_are_refused(bad: str) -> None:
    assert not is_user_id(bad)


@pytest.mark.parametrize(
    ("milliseconds", "period"),
    [
        (0, date(1970, 1, 1)),
        (31 * DAY - 1, date(1970, 1, 1)),
        (31 * DAY, date(1970, 2, 1)),
        (1_793_491_199_999, date(2026, 10, 1)),
        (1_793_491_200_000, date(2026, 11, 1)),
        (253_402_300_799_999, date(9999, 12, 1)),
        (253_402_300_800_000, date(9999, 12, 1)),
        ((1 << 48) - 1, date(9999, 12, 1)),
    ],
)
def test_a_v7_id_belongs_to_its_utc_month(milliseconds: int, period: date) -> None:
    assert period_of(v7(milliseconds)) == period


@given(st.uuids())
def test_any_other_id_belongs_to_the_first_period(session_id: UUID) -> None:
    is_v7 = session_id.version == 7
    assert (unix_ms_of(session_id) is not None) == is_v7
    if not is_v7:
        assert period_of(session_id) == FIRST_PERIOD


def test_seven_in_the_wrong_variant_is_no_v7() -> None:
    assert unix_ms_of(UUID(int=v7(1).int & ~(0x3 << 62))) is None
    assert unix_ms_of(uuid4()) is None


def test_a_minted_id_carries_the_time() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    minted = uuid7()
    assert minted.version == 7
    assert (
        microseconds(before) // 1000 <= (unix_ms_of(minted) or 0) <= microseconds(datetime.now(UTC)) // 1000
    )


def test_minted_ids_differ() -> None:
    assert len({uuid7() for _ in range(1000)}) == 1000


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_microseconds_lose_nothing(moment: datetime) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds(moment)) == moment


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), "2026-11-23T10:00:00Z"),
        (datetime(2026, 11, 23, 10, 0, 0, 5, UTC), "2026-11-23T10:00:00.000005Z"),
        (datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-11-22T19:30:00Z"),
    ],
)
def test_times_are_answered_in_utc(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_a_season_is_named_by_its_start() -> None:
    assert season_id(0) == "all"
    assert season_id(1_795_392_000) == "2026-11-23T00:00:00Z"


@pytest.mark.parametrize(("value", "text"), [("short", "short"), ("x" * 81, "x" * 77 + "..."), (5, "5")])
def test_what_came_from_outside_is_shortened(value: object, text: str) -> None:
    assert clean(value) == text
