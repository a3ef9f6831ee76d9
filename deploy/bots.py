"""The players of the demo: who they are, how good, when they play, and what a match of theirs ends like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

K = 24.0
"""How far one match moves a rating, as in Elo's system."""

FIRST = [
    "Ada", "Bo", "Cleo", "Dara", "Eli", "Fay", "Gus", "Hana", "Ivo", "Juno", "Kai", "Lena", "Milo", "Nia",
    "Otis", "Pia", "Quin", "Rui", "Suki", "Tao", "Uma", "Vik", "Wren", "Xia", "Yara", "Zed", "Amara",
    "Bjørn", "Chloé", "Dmitri", "Esra", "Freya", "Goran", "Haruka", "Inés", "José", "Kenji", "Léa",
    "Mateo", "Noor", "Oona", "Priya", "Søren", "Thiago", "Ursula", "Vera", "Wei", "Ximena", "Yusuf",
    "Zofia",
]  # fmt: skip
LAST = [
    "Ash", "Blaze", "Comet", "Drift", "Ember", "Flint", "Gale", "Hawk", "Iris", "Jinx", "Koi", "Lark",
    "Moss", "Nova", "Onyx", "Pike", "Quill", "Rook", "Sage", "Thorn", "Vale", "Wolf", "Zephyr", "Orbit",
    "Fable", "Raven", "Storm", "Pixel", "Echo", "Frost",
]  # fmt: skip

COUNTRIES = {
    "BR": -3, "CA": -5, "CN": 8, "DE": 1, "EG": 2, "ES": 1, "FR": 1, "GB": 0, "ID": 7, "IN": 5, "IT": 1,
    "JP": 9, "KE": 3, "KR": 9, "MX": -6, "NG": 1, "NL": 1, "NO": 1, "PL": 1, "SE": 1,
    "TR": 3, "UA": 2, "US": -6, "VN": 7,
}  # fmt: skip
"""Where bots live, and how many hours their clocks are ahead of UTC."""


@dataclass
class Bot:
    """One player: `skill` is what it can do, `rating` what its matches have shown so far."""

    user_id: str
    name: str
    country: str
    skill: float
    rating: float = 1500.0

    def eagerness(self, hour: float) -> float:
        """Return how likely it plays at an hour of UTC: most at nine in its evening, least before dawn."""
        local = hour + COUNTRIES[self.country]
        return 0.15 + 0.85 * (0.5 + 0.5 * math.cos((local - 21) / 24 * math.tau)) ** 2


def make(count: int, rng: Random) -> list[Bot]:
    """Make bots; the same seed makes the same ones."""
    countries = list(COUNTRIES)
    return [
        Bot(
            f"bot-{n:05d}",
            f"{rng.choice(FIRST)} {rng.choice(LAST)}",
            rng.choice(countries),
            rng.gauss(1500, 260),
        )
        for n in range(count)
    ]


def rhythm(bots: list[Bot], hour: float) -> float:
    """Return how busy the hour is, compared with the average one."""
    some = bots[:: max(1, len(bots) // 200)]
    mean = sum(bot.eagerness(each) for bot in some for each in range(24)) / (24 * len(some))
    return sum(bot.eagerness(hour) for bot in some) / (len(some) * mean)


def hour_of(moment: datetime) -> float:
    """Return the hour of the day, with its fraction."""
    return moment.hour + moment.minute / 60


def past(
    bots: list[Bot], until: datetime, span: timedelta, count: int, rng: Random
) -> list[tuple[datetime, list[Bot]]]:
    """Return moments and players of matches in the time before `until`, more in busy hours, oldest first."""
    moments = [until - span * (n / 48) for n in range(48)]
    weights = [rhythm(bots, hour_of(moment)) for moment in moments]
    chosen = rng.choices(moments, weights, k=count)
    times = sorted(max(until - span, moment - rng.random() * span / 48) for moment in chosen)
    return [(moment, match(bots, hour_of(moment), rng)) for moment in times]


def match(bots: list[Bot], hour: float, rng: Random) -> list[Bot]:
    """Pick who plays together: bots that are awake, of about one rating."""
    awake = [bot for bot in rng.choices(bots, k=24) if rng.random() < bot.eagerness(hour)]
    distinct = list({bot.user_id: bot for bot in awake}.values()) or bots[:2]
    host = distinct[0]
    others = sorted(distinct[1:], key=lambda bot: abs(bot.rating - host.rating))
    return [host, *others[: rng.choice((1, 1, 1, 2, 3, 5))]]


def play(players: list[Bot], rng: Random) -> list[dict[str, Any]]:
    """Play a match: ratings move, and everyone's points are returned as results."""
    shown = {bot.user_id: rng.gauss(bot.skill, 180) for bot in players}
    before = {bot.user_id: bot.rating for bot in players}
    results = []
    for bot in players:
        change = 0.0
        for other in players:
            if other is not bot:
                expected = 1 / (1 + 10 ** ((before[other.user_id] - before[bot.user_id]) / 400))
                won = shown[bot.user_id] > shown[other.user_id]
                change += K * (won - expected) / (len(players) - 1)
        bot.rating += change
        points = max(1, round((shown[bot.user_id] - 900) / 12 + change))
        results.append({"user_id": bot.user_id, "score": points, "metadata": {"rating": round(bot.rating)}})
    return results
