"""What is known of the world as a graph: things, and facts that say how one is related to another, or what it is like.

A fact has two times of its own: when it was true (`true_from` until `true_until`), and when ATLAS held it so
(`learned_at` until `superseded_at`). What was held before stays as history.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.period import Period

MAX_TRIPLES = 50
MAX_ENTITY = 200
MAX_RELATION = 80
MAX_VALUE = 2_000
MAX_SOURCES = 10
MAX_SOURCE = 300
MAX_FACTS = 200
MAX_DEPTH = 3
MAX_HOPS = 4

Outcome = Literal["new", "known", "changed", "disputed"]


class Triple(Frozen):
    """A fact as somebody tells it: `object` names another thing, `value` is what the subject has; one of the two."""

    subject: str = Field(description="The thing it is about, by its name; at most 200 characters.")
    relation: str = Field(description="How they are related, such as works_for or born_on.")
    object: str | None = Field(default=None, description="The other thing, by its name.")
    value: str | None = Field(default=None, description="Instead of object: a date, a number, a few words.")
    subject_kind: str = Field(default="", description="What it is, such as person; only where a name has several.")
    object_kind: str = Field(default="", description="The same for the object.")
    true_from: datetime | None = Field(default=None, description="Since when it is true, in UTC unless it says.")
    true_until: datetime | None = Field(default=None, description="When it ceased to be true.")
    functional: bool | None = Field(
        default=None,
        description="True: the subject has one such object at a time, so another ends what was true before.",
    )
    corrects: str | None = Field(default=None, description="Id of a fact that this puts right: it never was so.")
    text: str = Field(default="", description="The fact as a sentence; made of the words above if left out.")
    sources: list[str] = Field(default_factory=list[str], description="Where it is from; at most 10.")
    confidence: float = Field(default=1.0, description="How sure you are, 0 to 1.")


class FactSource(Frozen):
    """Who told a fact, when, and where it is from: a document, a material, an event of a run."""

    source: str = ""
    author: str = Field(description="caller, agent:NAME or atlas")
    run_id: str | None = None
    trust: float
    confidence: float
    at: datetime


class Fact(Frozen):
    """One version of a fact. Versions of one id say the same of different times, or were held at different times."""

    id: str
    version: int
    subject: str
    subject_kind: str = ""
    relation: str
    object: str | None = None
    object_kind: str = ""
    value: str | None = None
    text: str
    scope: str
    project: str | None = None
    true_from: datetime | None = None
    true_until: datetime | None = None
    learned_at: datetime
    superseded_at: datetime | None = None
    superseded_by: str | None = Field(default=None, description="The fact that took its place; null if undone.")
    sources: list[FactSource]
    author: str
    run_id: str | None = None
    confidence: float
    trust: float = Field(description="1 for what you said, less for what agents did.")
    functional: bool = False

    @property
    def period(self) -> Period:
        """When it is true."""
        return Period(since=self.true_from, until=self.true_until)


class Told(Frozen):
    """What became of a triple: a `new` fact; `known` already; `changed`, for when it is true; or `disputed`: kept
    beside what somebody more trusted said otherwise."""

    outcome: Outcome
    fact: Fact
    superseded: list[str] = Field(default_factory=list[str], description="Ids of facts that it took the place of.")
    contradicts: list[str] = Field(default_factory=list[str], description="Ids of facts that say otherwise, and stay.")


class Entity(Frozen):
    """A thing that facts are about. `distance` counts the facts between it and what was asked for."""

    id: str
    name: str
    kind: str = ""
    also: list[str] = Field(default_factory=list[str], description="Names of what turned out to be the same thing.")
    distance: int = 0
    facts: int | None = Field(default=None, description="How many are held of it, where they were counted.")


class Known(Frozen):
    """Facts and the things they are about; of a path, in its order. `more` says that there are others."""

    facts: list[Fact]
    entities: list[Entity] = Field(default_factory=list[Entity])
    more: bool = False
    notes: list[str] = Field(default_factory=list[str])


class FactHit(Frozen):
    """A fact near to what was looked for; `score` is 0 to 1, and falls with the distance."""

    fact: Fact
    score: float
    distance: int


class Merged(Frozen):
    """The thing that two turned out to be, and facts of it that now contradict each other."""

    entity: Entity
    contradictions: list[Fact] = Field(default_factory=list[Fact])


class Overview(Frozen):
    """How much is known, and the things that most is known of."""

    entities: int
    facts: int
    known_best: list[Entity]
