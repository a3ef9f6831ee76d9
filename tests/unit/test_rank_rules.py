from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest

from rank_service import envelopes
from rank_service.audit import agree
from rank_service.pages import matches
from rank_service.rules import Views, start_asked
from rank_service.watch import overtaken_by
from shared.cursors import Position, cursor_of, position_of
from shared.errors import LeaderboardError
from shared.ranking import Board, Entry, Place, Ranking

NOW = 1_795_728_600  # 2026-11-26T21:30:00Z


def board(status: str = "ready", schedule: str | None = None) -> Board:
    bounds = {"modes": None, "min_score": 0, "max_score": 9}
    rest = {**bounds, "schedule": schedule, "timezone": "UTC", "status": status}
    return Board(1, 2, "global", 3, None, "sum", "desc", "competition", **rest)  # type: ignore[arg-type]


def places(**ranks: int) -> dict[str, Place | None]:
    return {user: Place(rank, 1, 0, rank - 1) for user, rank in ranks.items()}


@pytest.mark.parametrize("season", ["current", "all"])
def test_an_unscheduled_leaderboard_has_one_endless_season(season: str) -> None:
    view = Views().current(board(), NOW)
    assert start_asked(board(), season, NOW) == 0
    assert view.ranking == Ranking(1, 3, 0, "competition", "desc")
    assert orjson.loads(view.head + b"1}")["season"]["id"] == "all"


@pytest.mark.parametrize("season", ["previous", "2026-01-01T00:00:00Z", "", "ALL"])
def test_a_season_that_never_was_is_not_found(season: str) -> None:
    with pytest.raises(LeaderboardError, match="no season") as error:
        start_asked(board(), season, NOW)
    assert error.value.code == "season_not_found"


@pytest.mark.parametrize(
    ("asked", "starts"),
    [
        ("current", "2026-11-26T21:00:00Z"),
        ("previous", "2026-11-26T20:00:00Z"),
        ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T11:00:00+01:00", "2026-11-25T10:00:00Z"),
    ],
)
def test_a_season_of_a_schedule_is_asked_for_by_word_or_start(asked: str, starts: str) -> None:
    found = start_asked(board(schedule="hourly"), asked, NOW)
    assert found == datetime.fromisoformat(starts).timestamp()


@pytest.mark.parametrize("asked", ["all", "next", "2026-11-25T10:00:00", "2026-13-01T00:00:00Z", ""])
def test_what_names_no_season_of_a_schedule_is_not_found(asked: str) -> None:
    with pytest.raises(LeaderboardError, match="no season"):
        start_asked(board(schedule="hourly"), asked, NOW)


def test_the_current_season_rolls_over_by_the_clock() -> None:
    views, hours = Views(), board(schedule="hourly")
    first = views.current(hours, NOW)
    assert views.current(hours, first.ends - 0.001) is first
    then = views.current(hours, first.ends)
    assert (first.season.ends_at, then.ranking.season) == (then.season.starts_at, first.ends)


def test_a_leaderboard_being_built_is_not_read() -> None:
    with pytest.raises(LeaderboardError) as error:
        Views().current(board("building"), NOW)
    assert (error.value.code, error.value.status) == ("leaderboard_building", 503)


def test_a_view_is_made_anew_when_the_definition_is() -> None:
    views = Views()
    first = views.current(old := board(), NOW)
    assert views.current(old, NOW) is first
    assert views.current(board(), NOW) is not first


def test_a_cursor_names_its_position() -> None:
    position = Position(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), UUID(int=7))
    assert position_of(cursor_of(position)) == position


@pytest.mark.parametrize("cursor", ["x", "AAAA", "!" * 32, "é", "f" * 31, "f" * 48])
def test_a_cursor_we_did_not_make_is_refused(cursor: str) -> None:
    with pytest.raises(LeaderboardError) as error:
        position_of(cursor)
    assert error.value.errors[0].path == "cursor"


@pytest.mark.parametrize(
    ("better", "total", "expected"), [(0, 1, 100.0), (1, 3, 200 / 3), (999_999, 10**6, 1e-4)]
)
def test_the_percentile_is_the_share_not_strictly_better(better: int, total: int, expected: float) -> None:
    assert envelopes.percentile(better, total) == expected
    single = envelopes.single("ada", Place(1, 1, 5, better), total, b'"country":null')
    assert orjson.loads(b"{%b}" % single)["entry"]["percentile"] == expected


def test_moments_are_utc_with_milliseconds() -> None:
    assert datetime.fromisoformat(envelopes.moment().decode()).tzinfo is UTC
    assert len(envelopes.moment()) == len("2026-11-23T10:00:01.123Z")


@pytest.mark.parametrize("header", [b'W/"a-1"', b'"a-1"', b'"x", W/"a-1"', b"*", b' "a-1" '])
def test_if_none_match_compares_weakly(header: bytes) -> None:
    assert matches(header, b'W/"a-1"')


@pytest.mark.parametrize("header", [b"", b'"a"', b"a-1", b'"x", "y"'])
def test_another_validator_does_not_match(header: bytes) -> None:
    assert not matches(header, b'W/"a-1"')


def test_overtakers_are_those_changed_who_were_not_ahead() -> None:
    before, now = places(me=2, ahead=1, behind=5), places(me=4, ahead=1, behind=3, new=2)
    assert overtaken_by("me", before, now, ["ahead", "behind", "new"]) == ["behind", "new"]


def test_nobody_overtakes_who_did_not_fall() -> None:
    assert overtaken_by("me", places(me=2), places(me=2, other=1), ["other"]) == []
    assert overtaken_by("me", {}, places(me=2, other=1), ["other"]) == []


@pytest.mark.parametrize(
    ("truth", "held", "due", "right"),
    [
        (Entry("u", 2, -5, 0), Entry("u", 2, -5, 0), None, True),
        (Entry("u", 2, -5, 0), Entry("u", 2, -4, 0), None, False),
        (Entry("u", 2, -5, 0), Entry("u", 1, -5, 0), None, False),
        (Entry("u", 9, -5, 0), Entry("u", 3, -4, 0), 3, True),
        (Entry("u", 9, -5, 0), Entry("u", 2, -4, 0), 3, False),
        (Entry("u", 2, -5, 0), Entry("u", 3, -6, 0), None, False),
        (Entry("u", 2, -5, 0), None, None, False),
        (Entry("u", 2, None, 0), None, None, True),
        (Entry("u", 2, None, 0), Entry("u", 2, None, 0), None, True),
        (Entry("u", 2, None, 0), Entry("u", 2, -5, 0), None, False),
        (None, None, None, True),
        (None, Entry("u", 2, None, 0), None, True),
        (None, Entry("u", 2, -5, 0), None, False),
        (Entry("u", 2, -5, 7), Entry("u", 2, -5, 0), None, True),
    ],
)
def test_the_audit_tells_drift_from_delay(
    truth: Entry | None, held: Entry | None, due: int | None, right: bool
) -> None:
    assert agree(Ranking(1, 1, 0, "competition", "desc"), truth, held, due) is right


def test_the_audit_compares_tiebreaks_where_they_rank() -> None:
    ranking = Ranking(1, 1, 0, "first", "desc")
    assert not agree(ranking, Entry("u", 2, -5, 7), Entry("u", 2, -5, 0))
