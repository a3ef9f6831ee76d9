"""Were standings moved rightly? Every rank is compared with the one elsewhere, every difference explained."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from deploy.sources import Order, Source, Standing

MISSING, SCORE, RANK = "missing here", "another score", "another rank"
FAULTS = (MISSING, SCORE, RANK)
"""Differences that should not be; all others follow from rules that differ."""


class Difference(NamedTuple):
    """A user who stands elsewhere than there."""

    kind: str
    user: str
    score_there: int
    score_here: int | None
    rank_there: int | None
    rank_here: int | None
    why: str

    @property
    def told(self) -> str:
        """Say it in a sentence."""
        if self.kind == SCORE:
            return f"{self.user}: {self.score_there} there, {self.score_here} here"
        if self.kind == MISSING:
            return f"{self.user}: {self.score_there} there"
        there = "no rank" if self.rank_there is None else f"rank {self.rank_there}"
        return f"{self.user}: {there} there, {self.rank_here} here: {self.why}"


class Proof(NamedTuple):
    """What a comparison of all ranks found."""

    users: int
    same: int
    strangers: int
    tied: int
    differences: list[Difference]

    @property
    def holds(self) -> bool:
        """Whether everyone has the same score here, and the rank that it gives by the rules here."""
        return not any(each.kind in FAULTS for each in self.differences)

    @property
    def kinds(self) -> Counter[str]:
        """How many differences of each kind there are."""
        return Counter(each.kind for each in self.differences)


class Comparison:
    """Compares standings here, taken best first, with those of a source.

    Args:
        source: what there is elsewhere.
        definition: the leaderboard's here, as the API tells it.
    """

    def __init__(self, source: Source, definition: dict[str, Any]) -> None:
        order: Order = definition["order"]
        self._source = source
        self._ties: str = definition["ties"]
        self._expected = ranked(source.standings, definition)
        self._there = source.ranks(order)
        self._rule = rule_of(self._there, source.standings, order)
        self._sharing = Counter(score for _, score in source.standings)
        self._missing = dict(source.standings)
        self._differences: list[Difference] = []
        self._same = self._strangers = self._tied = 0
        self._ahead = self._level = 0
        self._score: int | None = None

    def take(self, entry: dict[str, Any]) -> bool:
        """Compare the next entry; say whether the source knows its user."""
        score, user = entry["score"], entry["user_id"]
        if score != self._score:
            self._score, self._ahead, self._level = score, self._ahead + self._level, 0
        if user not in self._expected:
            self._strangers += 1
            # Under `dense` a score that someone of the source has too pushes nobody down.
            shared = self._ties == "dense" and (score in self._sharing or self._level)
            self._level += not shared
            return False
        self._missing.pop(user, None)
        self._tied += entry["ties"] > 1
        difference = self._compared(user, entry)
        if difference is None:
            self._same += 1
        else:
            self._differences.append(difference)
        return True

    def _compared(self, user: str, entry: dict[str, Any]) -> Difference | None:
        score, rank = self._expected[user]
        there, here = self._there.get(user), entry["rank"]
        if entry["score"] != score:
            return Difference(
                SCORE, user, score, entry["score"], there, here, "the sessions here add up to it"
            )
        unknown = rank is None or (self._ties == "first" and entry["ties"] > 1)
        if rank is not None and not unknown and here != rank + self._ahead:
            why = f"by the scores there it is {rank + self._ahead}"
            return Difference(RANK, user, score, score, there, here, why)
        if there is None or there == here:
            return None
        reasons = self._reasons(score, entry["ties"])
        kind = next(iter(reasons), RANK)
        why = "; ".join(reasons.values()) or "the rank there does not follow from the scores there"
        return Difference(kind, user, score, score, there, here, why)

    def _reasons(self, score: int, ties: int) -> dict[str, str]:
        """Return the rules that differ, by kind, and what each does."""
        found: dict[str, str] = {}
        if self._ahead:
            found["users of other origin"] = f"{self._ahead:,} better ones here are not in the source"
        if self._sharing[score] > 1 or ties > 1:
            found["ties"] = f"{max(ties, self._sharing[score]):,} share {score}: " + self._tie_rules
        if "dense" in (self._ties, self._rule) and self._ties != self._rule:
            where = "here" if self._ties == "dense" else "there"
            found.setdefault("dense ranks", f"{where} equal scores take one rank, and none is left out")
        return found if self._rule else {}

    @property
    def _tie_rules(self) -> str:
        there = self._source.ties if self._rule == "positions" else f"ranks there are {self._rule}"
        here = {
            "competition": "all have the best rank of them",
            "dense": "all have one rank, the next has the next",
            "first": "by when the score was reached",
        }[self._ties]
        return f"told apart there {there}; here {here} ({self._ties})"

    def result(self) -> Proof:
        """Say what was found."""
        missing = [
            Difference(MISSING, user, score, None, self._there.get(user), None, "no entry here")
            for user, score in sorted(self._missing.items())
        ]
        differences = [*missing, *self._differences]
        return Proof(len(self._expected), self._same, self._strangers, self._tied, differences)


async def prove(
    entries: AsyncIterator[dict[str, Any]],
    source: Source,
    definition: dict[str, Any],
    done: Callable[[int], None] = lambda _: None,
) -> Proof:
    """Compare every user's score and rank here (`entries`, best first) with those elsewhere."""
    comparison = Comparison(source, definition)
    async for entry in entries:
        done(int(comparison.take(entry)))
    return comparison.result()


def ranked(standings: list[Standing], definition: dict[str, Any]) -> dict[str, tuple[int, int | None]]:
    """Return everyone's score and the rank it gives under a definition's order and tie rule.

    Under `first`, ranks within a score depend on when it was reached, which no source tells: None where a
    score is shared.
    """
    best_first = sorted(standings, key=lambda each: each[1], reverse=definition["order"] == "desc")
    shared = Counter(score for _, score in best_first)
    ranks: dict[str, tuple[int, int | None]] = {}
    place: dict[int, int] = {}
    for position, (user, score) in enumerate(best_first, start=1):
        dense = definition["ties"] == "dense"
        rank = place.setdefault(score, len(place) + 1 if dense else position)
        unknown = definition["ties"] == "first" and shared[score] > 1
        ranks[user] = (score, None if unknown else rank)
    return ranks


def rule_of(ranks: dict[str, int], standings: list[Standing], order: Order) -> str:
    """Name the rule that ranks follow: positions, competition or dense; nothing when they follow none."""
    if sorted(ranks.values()) == list(range(1, len(standings) + 1)):
        best_first = sorted(standings, key=lambda each: each[1], reverse=order == "desc")
        by_rank = sorted(standings, key=lambda each: ranks[each[0]])
        return "positions" if [s for _, s in by_rank] == [s for _, s in best_first] else ""
    for ties in ("competition", "dense"):
        by_rule = ranked(standings, {"order": order, "ties": ties})
        if all(by_rule[user][1] == rank for user, rank in ranks.items()):
            return ties
    return ""
