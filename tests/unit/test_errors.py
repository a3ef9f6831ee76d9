"""The table of error codes, and the exceptions that carry them."""

from __future__ import annotations

import re

import pytest

from shared.errors import KINDS, WIRE_CODES, FieldError, LeaderboardError, invalid, not_found

# Written down a second time, on purpose: callers build on these.
CONTRACT = {
    "invalid_request": {400, 408, 422, 431},
    "score_out_of_bounds": {422},
    "score_total_out_of_range": {422},
    "session_too_old": {422},
    "unauthorized": {401},
    "forbidden": {403},
    "not_found": {404},
    "game_not_found": {404},
    "leaderboard_not_found": {404},
    "user_not_found": {404},
    "entry_not_found": {404},
    "session_not_found": {404},
    "season_not_found": {404},
    "method_not_allowed": {405},
    "session_conflict": {409},
    "body_too_large": {413},
    "unsupported_media_type": {415},
    "rate_limited": {429},
    "internal": {500},
    "upstream_unavailable": {502, 503},
    "overloaded": {503},
    "leaderboard_building": {503},
    "deadline_exceeded": {504},
}


def test_codes_and_statuses_are_those_of_the_contract() -> None:
    found: dict[str, set[int]] = {}
    for code, kind in KINDS.items():
        found.setdefault(WIRE_CODES.get(code, code), set()).add(kind.status)
    assert found == CONTRACT


@pytest.mark.parametrize("code", KINDS)
def test_every_code_can_be_raised_and_has_a_title_for_people(code: str) -> None:
    error = LeaderboardError(code, "why")
    assert (error.status, str(error)) == (KINDS[code].status, "why")
    assert re.fullmatch(r"[A-Z].*[^.]", KINDS[code].title)


@pytest.mark.parametrize("code", KINDS)
def test_who_should_come_back_is_told_when(code: str) -> None:
    assert (LeaderboardError(code, "").retry_after is not None) == (KINDS[code].status in (429, 503))


def test_a_given_time_to_come_back_stands() -> None:
    assert LeaderboardError("overloaded", "", retry_after=7).retry_after == 7


def test_an_invalid_field_is_named_with_its_rule() -> None:
    error = invalid("results[0].score", "must be an integer")
    assert error.detail == "results[0].score: must be an integer"
    assert error.errors == (FieldError("results[0].score", "must be an integer"),)


def test_an_invalid_body_has_no_field_to_name() -> None:
    assert invalid("", "must be an object").detail == "must be an object"


def test_what_is_not_found_says_what_it_is() -> None:
    assert (not_found("season", "no").code, not_found("season", "no").status) == ("season_not_found", 404)
