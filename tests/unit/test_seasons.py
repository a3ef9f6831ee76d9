"""When seasons change: every schedule, through both changes of clocks."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.seasons import Season, calendar, moment_of, schedule_fault, timezone_fault

LONDON, NEW_YORK = "Europe/London", "America/New_York"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def season(schedule: str, timezone: str, moment: str) -> tuple[str, str]:
    found = calendar(schedule, timezone).at(at(moment))
    starts, ends = (moment_of(edge).strftime("%m-%dT%H:%M") for edge in found)
    return starts, ends


@pytest.mark.parametrize(
    ("schedule", "moment", "starts", "ends"),
    [
        ("hourly", "2026-11-26T21:59:59Z", "11-26T21:00", "11-26T22:00"),
        ("daily", "2026-11-26T00:00:00Z", "11-26T00:00", "11-27T00:00"),
        ("weekly", "2026-11-29T23:59:59Z", "11-23T00:00", "11-30T00:00"),
        ("weekly", "2026-11-30T00:00:00Z", "11-30T00:00", "12-07T00:00"),
        ("monthly", "2026-02-28T23:59:59Z", "02-01T00:00", "03-01T00:00"),
        ("30 18 * * FRI", "2026-11-26T12:00:00Z", "11-20T18:30", "11-27T18:30"),
    ],
)
def test_a_moment_belongs_to_the_season_that_began_last(
    schedule: str, moment: str, starts: str, ends: str
) -> None:
    assert season(schedule, "UTC", moment) == (starts, ends)


@pytest.mark.parametrize(
    ("timezone", "moment", "starts", "ends"),
    [
        (LONDON, "2026-03-29T12:00:00Z", "03-29T00:00", "03-29T23:00"),  # clocks go on at 01:00
        (LONDON, "2026-10-25T12:00:00Z", "10-24T23:00", "10-26T00:00"),  # and back at 02:00
        (NEW_YORK, "2026-03-08T12:00:00Z", "03-08T05:00", "03-09T04:00"),
        (NEW_YORK, "2026-11-01T12:00:00Z", "11-01T04:00", "11-02T05:00"),
    ],
)
def test_a_day_has_23_or_25_hours_when_clocks_change(
    timezone: str, moment: str, starts: str, ends: str
) -> None:
    assert season("daily", timezone, moment) == (starts, ends)


@pytest.mark.parametrize(
    ("schedule", "timezone", "moment", "starts", "ends"),
    [
        ("weekly", LONDON, "2026-03-29T12:00:00Z", "03-23T00:00", "03-29T23:00"),
        ("weekly", LONDON, "2026-10-25T12:00:00Z", "10-18T23:00", "10-26T00:00"),
        ("weekly", NEW_YORK, "2026-03-08T12:00:00Z", "03-02T05:00", "03-09T04:00"),
        ("weekly", NEW_YORK, "2026-11-01T12:00:00Z", "10-26T04:00", "11-02T05:00"),
        ("monthly", LONDON, "2026-03-29T12:00:00Z", "03-01T00:00", "03-31T23:00"),
        ("monthly", LONDON, "2026-10-25T12:00:00Z", "09-30T23:00", "11-01T00:00"),
        ("monthly", NEW_YORK, "2026-03-08T12:00:00Z", "03-01T05:00", "04-01T04:00"),
        ("monthly", NEW_YORK, "2026-11-01T12:00:00Z", "11-01T04:00", "12-01T05:00"),
        ("0 6 * * *", LONDON, "2026-03-29T12:00:00Z", "03-29T05:00", "03-30T05:00"),
        ("0 6 * * *", NEW_YORK, "2026-11-01T12:00:00Z", "11-01T11:00", "11-02T11:00"),
    ],
)
def test_longer_seasons_begin_and_end_by_the_local_clock(
    schedule: str, timezone: str, moment: str, starts: str, ends: str
) -> None:
    assert season(schedule, timezone, moment) == (starts, ends)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01"])
@pytest.mark.parametrize("timezone", [LONDON, NEW_YORK])
def test_hours_are_real_hours_whatever_clocks_do(timezone: str, day: str) -> None:
    edges = calendar("hourly", timezone).edges(at(f"{day}T00:00Z"), at(f"{day}T23:59Z"))
    assert [b - a for a, b in pairwise(edges)] == [3600] * 24


@pytest.mark.parametrize(
    ("timezone", "cron", "moment", "starts", "ends"),
    [
        # 01:30 does not come: the season begins when the clock goes on, and three such begin once.
        (LONDON, "30 1 * * *", "2026-03-29T12:00:00Z", "03-29T01:00", "03-30T00:30"),
        (LONDON, "0,15,30 1 * * *", "2026-03-29T12:00:00Z", "03-29T01:00", "03-30T00:00"),
        (NEW_YORK, "30 2 * * *", "2026-03-08T12:00:00Z", "03-08T07:00", "03-09T06:30"),
        # 01:30 comes twice: the season begins the first time.
        (LONDON, "30 1 * * *", "2026-10-25T01:40:00Z", "10-25T00:30", "10-26T01:30"),
        (NEW_YORK, "30 1 * * *", "2026-11-01T06:40:00Z", "11-01T05:30", "11-02T06:30"),
    ],
)
def test_a_moment_clocks_skip_or_repeat_begins_one_season(
    timezone: str, cron: str, moment: str, starts: str, ends: str
) -> None:
    assert season(cron, timezone, moment) == (starts, ends)


@given(
    st.sampled_from(["hourly", "daily", "weekly", "monthly", "30 1 * * *", "15 */2 * * *", "0 0 1 1 *"]),
    st.sampled_from(["UTC", LONDON, NEW_YORK, "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]),
    st.integers(946_684_800, 1_900_000_000),
)
def test_seasons_lie_one_behind_the_other_from_wherever_one_looks(
    schedule: str, timezone: str, moment: int
) -> None:
    found = calendar(schedule, timezone).at(moment)
    assert found.starts <= moment < found.ends
    for inside in (found.starts, found.ends - 1):
        assert calendar.__wrapped__(schedule, timezone).at(inside) == found
    assert calendar.__wrapped__(schedule, timezone).at(found.starts - 1).ends == found.starts
    assert calendar.__wrapped__(schedule, timezone).at(found.ends).starts == found.ends


def test_days_name_their_seasons_once() -> None:
    first = at("2026-11-02T00:00Z") // 86_400  # a Monday
    weekly = calendar("weekly", "UTC")
    assert weekly.on([first, first + 1, first + 9], 10) == [
        Season(first * 86_400, (first + 7) * 86_400),
        Season((first + 7) * 86_400, (first + 14) * 86_400),
    ]
    assert len(calendar("* * * * *", "UTC").on(range(first, first + 10_000), 100)) < 50_000


@pytest.mark.parametrize(
    "schedule",
    [
        *("", "fortnightly", "Daily", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@daily"),
        *(
            "0 0 0 * *",
            "x * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "0 0 * * 8",
            "0 0 31 2,4 *",
            "1,,2 * * * *",
        ),
    ],
)
def test_what_is_no_schedule_is_told(schedule: str) -> None:
    assert schedule_fault(schedule) is not None


@pytest.mark.parametrize("schedule", ["hourly", "*/5 * * * *", "0 0 * 2 MON#5", "0 0 29 2 *", "0 9 L * *"])
def test_what_comes_round_is_a_schedule(schedule: str) -> None:
    assert schedule_fault(schedule) is None


@given(st.text(alphabet="0123456789*/,-#LWMONFEB? ", max_size=20))
def test_any_text_is_a_schedule_or_is_told(schedule: str) -> None:
    assert schedule_fault(schedule) is None or isinstance(schedule_fault(schedule), str)


def test_a_time_zone_has_an_iana_name() -> None:
    assert timezone_fault(LONDON) is timezone_fault("UTC") is None
    for odd in ("", "London", "../etc/passwd", "/etc/localtime", "europe/london", "GMT+25"):
        assert timezone_fault(odd) is not None
