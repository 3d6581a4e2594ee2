"""The plan of a team task, and how its parts depend on each other."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from atlas_mcp.model._base import Tolerant

Priority = Literal["low", "normal", "high", "urgent"]
TaskKind = Literal["research", "analysis", "writing", "review", "mixed"]
Complexity = Literal["simple", "moderate", "complex"]

Mode = Literal["hierarchy", "team", "debate"]
"""How agents work together: teams under one plan; a single team alone; named sides and a moderator."""

MAX_PARTS = 12
MAX_DEBATERS = 8
MAX_DEBATE_ROUNDS = 5


class Part(Tolerant):
    """One piece of the task, given to one team; starts when the parts it depends on are done."""

    id: str = Field(min_length=1, max_length=40)
    team: str
    task: str = Field(min_length=1, max_length=20_000)
    depends_on: tuple[str, ...] = ()


class Debater(Tolerant):
    """One side of a debate: an agent of the constellation by its name, or, with a persona, one for this run alone."""

    name: str = Field(min_length=1, max_length=60)
    persona: str = Field(default="", max_length=1_500, description="Who it is and what it stands for.")


class Lack(Tolerant):
    """Something the task could have used and that is not there."""

    what: str
    why: str
    how_to_add: str = ""


class Plan(Tolerant):
    """Which team does what, in which order. Ids are unique, dependencies exist and have no cycle.

    A debate has `debaters` and no parts; every other mode has parts.
    """

    summary: str = ""
    mode: Mode = "hierarchy"
    priority: Priority = "normal"
    kind: TaskKind = "mixed"
    complexity: Complexity = "moderate"
    parts: tuple[Part, ...] = Field(default=(), max_length=MAX_PARTS)
    debaters: tuple[Debater, ...] = Field(default=(), max_length=MAX_DEBATERS)
    rounds: int = Field(default=3, ge=2, le=MAX_DEBATE_ROUNDS, description="Of statements in a debate, at most.")
    lacks: tuple[Lack, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.parts and not self.debaters:
            raise ValueError("parts: there must be at least one")
        ids = [p.id for p in self.parts]
        if len(set(ids)) != len(ids):
            raise ValueError(f"part ids must be unique: {ids}")
        for part in self.parts:
            if unknown := set(part.depends_on) - set(ids):
                raise ValueError(f"part {part.id!r} depends on unknown parts {sorted(unknown)}")
        self.waves()
        return self

    def waves(self) -> list[list[Part]]:
        """The parts in the order they can run: each wave depends only on earlier ones. ValueError on a cycle."""
        done: set[str] = set()
        waves: list[list[Part]] = []
        left = list(self.parts)
        while left:
            wave = [p for p in left if done.issuperset(p.depends_on)]
            if not wave:
                raise ValueError(f"parts depend on each other in a cycle: {[p.id for p in left]}")
            waves.append(wave)
            done.update(p.id for p in wave)
            left = [p for p in left if p.id not in done]
        return waves
