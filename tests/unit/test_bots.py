"""The demo's bots: the same ones each time, skill decides in the end, and evenings are busier."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from deploy import bots


def test_the_same_seed_makes_the_same_bots() -> None:
    assert bots.make(20, Random(1)) == bots.make(20, Random(1))


def test_ratings_come_to_follow_skill() -> None:
    rng = Random(2)
    everyone = bots.make(40, rng)
    for _ in range(4000):
        bots.play(bots.match(everyone, 20.0, rng), rng)
    by_skill = sorted(everyone, key=lambda bot: bot.skill)
    weak, strong = (sum(bot.rating for bot in half) for half in (by_skill[:20], by_skill[20:]))
    assert strong > weak + 20 * 200


def test_a_match_is_a_session_the_api_takes() -> None:
    rng = Random(3)
    everyone = bots.make(30, rng)
    for _ in range(200):
        results = bots.play(bots.match(everyone, 3.0, rng), rng)
        assert len({result["user_id"] for result in results}) == len(results) >= 1
        assert all(result["score"] >= 1 for result in results)


def test_more_play_in_their_evening_than_before_dawn() -> None:
    bot = bots.Bot("ada", "Ada", "GB", 1500)
    assert bot.eagerness(21) > 3 * bot.eagerness(5)
    assert abs(sum(bots.rhythm([bot], hour) for hour in range(24)) / 24 - 1) < 0.01


def test_a_day_that_is_over_is_in_order_and_had_its_busy_hours() -> None:
    everyone = [bots.Bot(f"b{n}", "B", "GB", 1500) for n in range(20)]
    until = datetime(2026, 11, 27, 23, tzinfo=UTC)
    matches = bots.past(everyone, until, timedelta(days=1), 2000, Random(4))
    moments = [moment for moment, _ in matches]
    assert moments == sorted(moments)
    assert until - timedelta(days=1) <= moments[0] < moments[-1] <= until
    hours = [moment.hour for moment in moments]
    assert sum(19 <= hour < 23 for hour in hours) > 3 * sum(3 <= hour < 7 for hour in hours)
