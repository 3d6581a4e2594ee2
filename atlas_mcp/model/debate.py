"""A debate: what each side says, on which points they are asked, and how far they agree in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Tolerant
from atlas_mcp.model.result import Evidence

MAX_POINTS = 7
AGREED = 0.9
"""From this level of agreement on a debate is over."""

Stand = Literal["agree", "disagree", "undecided"]


class Vote(Tolerant):
    """How a debater stands to one of the points, by its number from 1."""

    point: int = Field(ge=1)
    stand: Stand
    reason: str = Field(default="", max_length=600)


class Statement(Tolerant):
    """What a debater says in a round, with a vote on every point once there are points."""

    text: str = Field(min_length=1, max_length=20_000)
    evidence: tuple[Evidence, ...] = ()
    votes: tuple[Vote, ...] = ()

    def stands(self, points: int) -> tuple[Stand, ...]:
        """How it stands to each of so many points; undecided where it does not say."""
        given: dict[int, Stand] = {v.point: v.stand for v in self.votes}
        return tuple(given.get(n, "undecided") for n in range(1, points + 1))


class Points(Tolerant):
    """What is at issue: sentences that one can agree or disagree with."""

    points: tuple[str, ...] = Field(min_length=1, max_length=MAX_POINTS)


class Outcome(Tolerant):
    """How a debate ended: after so many rounds, how far all agreed, and on which points they did not."""

    rounds: int
    agreement: float | None
    disagreements: list[str] = Field(default_factory=list[str])


def agreement(stands: Sequence[Sequence[Stand]]) -> float | None:
    """The level of agreement, 0 to 1, from each debater's stands to the same points; None without two debaters.

    Of every point the share of pairs of debaters who both agree with it or both disagree; of these shares the mean.
    Who is undecided agrees with nobody.
    """
    if len(stands) < 2 or not stands[0]:
        return None
    shares = [
        fmean(one == other != "undecided" for one, other in combinations(of_point, 2))
        for of_point in zip(*stands, strict=True)
    ]
    return round(fmean(shares), 3)


def disagreements(points: Sequence[str], said: Mapping[str, Statement]) -> list[str]:
    """The points on which not all stand alike, with who stands how and why."""
    found: list[str] = []
    for number, point in enumerate(points, 1):
        votes = {who: _vote(statement, number) for who, statement in said.items()}
        if len({v.stand for v in votes.values()}) > 1 or any(v.stand == "undecided" for v in votes.values()):
            found.append(f"{point}: " + "; ".join(_in_words(who, vote) for who, vote in votes.items()))
    return found


def _vote(statement: Statement, number: int) -> Vote:
    return next((v for v in statement.votes if v.point == number), Vote(point=number, stand="undecided"))


def _in_words(who: str, vote: Vote) -> str:
    verb = "is undecided" if vote.stand == "undecided" else f"{vote.stand}s"
    reason = " ".join(vote.reason.split())
    return f"{who} {verb} ({reason})" if reason else f"{who} {verb}"
