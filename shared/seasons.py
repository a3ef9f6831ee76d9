"""When seasons begin and end: pure arithmetic of schedules and time zones, the same in every service.

A schedule is a rule of local clock time, so its moments are looked for by a cron library, which
knows what clocks do when they change: a moment that is skipped comes when the clock goes on, one
that comes twice counts once; a schedule of every hour counts real hours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from shared.names import EARLIEST_PLAYED_AT, EPOCH

NAMED = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * MON",
    "monthly": "0 0 1 * *",
}
"""Schedules with a name, as the cron expressions they stand for."""

DAY = 86_400

LOOK_BACK = (2, 40, 400, 366 * 9, 366 * 50)
"""Days before a moment at which the search for its season's start begins. Two clear any change of clocks."""

KNOWN_DAYS = 64
"""Days of one calendar whose seasons are kept at hand."""


class Season(NamedTuple):
    """One period of a schedule, [starts, ends), in Unix seconds; its start is its key."""

    starts: int
    ends: int


ENDLESS = Season(0, 253_402_300_800)
"""The one season of a leaderboard without a schedule."""


class Calendar:
    """The seasons of one schedule in one time zone; see `calendar`."""

    def __init__(self, schedule: str, timezone: str) -> None:
        self._expression = NAMED.get(schedule, schedule)
        self._zone = ZoneInfo(timezone)
        self._days: dict[int, list[int]] = {}
        self._last = Season(0, 0)

    def at(self, moment: int) -> Season:
        """Return the season a moment (Unix seconds) belongs to."""
        last = self._last
        if last.starts <= moment < last.ends:  # of nearly every question
            return last
        day = moment // DAY
        edges = self._days.get(day)
        if edges is None:
            edges = self.edges(day * DAY, (day + 1) * DAY)
            if len(self._days) >= KNOWN_DAYS:
                self._days.clear()
            self._days[day] = edges
        i = bisect_right(edges, moment)
        self._last = found = Season(edges[i - 1], edges[i])
        return found

    def edges(self, first: int, last: int) -> list[int]:
        """Return when seasons change: from the start of that of `first` to the first change after `last`.

        Raises:
            ValueError: the schedule has no such moments.
        """
        for days in LOOK_BACK:
            found: list[int] = []
            for moment in self._changes(first - days * DAY):
                if not found or moment > found[-1]:  # what clocks skip comes at one moment
                    found.append(moment)
                if moment > last:
                    start = bisect_right(found, first) - 1
                    if start >= 0:
                        return found[start:]
                    break
        raise ValueError(f"{self._expression!r} does not come round")

    def on(self, days: Iterable[int], most: int) -> list[Season]:
        """Return the seasons that days (counted from 1970) lie in, in order; a few past `most` at the most.

        Days are taken a month at a time, so that `most` bounds the work too.
        """
        found: dict[int, Season] = {}
        for first, last in _runs(days):
            edges = self.edges(first * DAY, (last + 1) * DAY - 1)
            found.update((a, Season(a, b)) for a, b in pairwise(edges))
            if len(found) > most:
                break
        return list(found.values())

    def _changes(self, after: int) -> Iterator[int]:
        start = (EPOCH + timedelta(seconds=after)).astimezone(self._zone)
        for moment in CronSim(self._expression, start):
            yield int(moment.astimezone(UTC).timestamp())


def _runs(days: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of days in order that follow each other, at most 31 each."""
    first = last = None
    for day in days:
        if first is None or last is None:
            first = last = day
        elif day == last + 1 and day < first + 31:
            last = day
        else:
            yield first, last
            first = last = day
    if first is not None and last is not None:
        yield first, last


@lru_cache(maxsize=1024)
def calendar(schedule: str, timezone: str) -> Calendar:
    """Return the calendar of a schedule that has been checked; one for all boards that share it."""
    return Calendar(schedule, timezone)


def schedule_fault(schedule: str) -> str | None:
    """Return the rule a schedule breaks, or None."""
    rule = "must be hourly, daily, weekly, monthly or a cron expression of five fields"
    if schedule not in NAMED and len(schedule.split()) != 5:
        return rule
    try:
        Calendar(schedule, "UTC").at(int(EARLIEST_PLAYED_AT.timestamp()))
    except CronSimError as error:
        return f"{rule}: {str(error).lower()}"
    except ValueError:
        return f"{schedule!r} never comes, or not twice in 50 years"
    return None


def timezone_fault(timezone: str) -> str | None:
    """Return the rule a time zone breaks, or None."""
    return None if timezone in _zones() else "must be an IANA time zone, like Europe/London"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def moment_of(seconds: int) -> datetime:
    """Return Unix seconds as a moment in UTC."""
    return EPOCH + timedelta(seconds=seconds)
