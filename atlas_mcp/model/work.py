"""What agents hand each other in a team task; each is read from an agent's answer.

Lengths are bounded, so that an answer without end is refused where it is read and not where it is used.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Tolerant
from atlas_mcp.model.result import Evidence

MAX_TASK = 20_000
MAX_FINDINGS = 200_000
MAX_EVIDENCE = 300
MAX_REASON = 4_000
MAX_SECTIONS = 100
MAX_DRAFT = 60_000
"""Characters of a whole text: raters get it with the reports in one message."""


class Assignment(Tolerant):
    """What a supervisor asks of one worker."""

    worker: str
    task: str = Field(min_length=1, max_length=MAX_TASK)
    context: str = Field(default="", max_length=MAX_TASK)
    restrictions: tuple[str, ...] = ()


class Delegation(Tolerant):
    """How a supervisor splits its part among its workers."""

    assignments: tuple[Assignment, ...] = Field(min_length=1)


class Findings(Tolerant):
    """What a worker found, or what a supervisor merged: the text, what supports it, and what is still open."""

    text: str = Field(min_length=1, max_length=MAX_FINDINGS)
    evidence: tuple[Evidence, ...] = Field(default=(), max_length=MAX_EVIDENCE)
    gaps: tuple[str, ...] = ()


class DraftSection(Tolerant):
    """A part of the text under work; revisions name sections by their id."""

    id: str = Field(min_length=1, max_length=40)
    heading: str = ""
    text: str = Field(min_length=1)


class Draft(Tolerant):
    """The text under work. A revision carries only the sections that it replaces."""

    title: str = ""
    sections: tuple[DraftSection, ...] = Field(min_length=1, max_length=MAX_SECTIONS)

    def revised(self, revision: Draft) -> Draft:
        """This draft with the revision's sections in place of those of the same id; new ones go to the end."""
        new = {s.id: s for s in revision.sections}
        kept = tuple(new.pop(s.id, s) for s in self.sections)
        return Draft(title=revision.title or self.title, sections=kept + tuple(new.values()))

    def text(self) -> str:
        """The whole as Markdown."""
        head = [f"# {self.title}"] if self.title else []
        body = [f"## {s.heading}\n\n{s.text}" if s.heading else s.text for s in self.sections]
        return "\n\n".join(head + body)


class Score(Tolerant):
    """One rater's judgement of one criterion; `section` names the section to revise, or is empty for the whole.

    `quote` are the words of the text that it refers to, as they stand there.
    """

    criterion: str
    score: float = Field(ge=1, le=5)
    reason: str = Field(min_length=1, max_length=MAX_REASON)
    quote: str = Field(default="", max_length=MAX_REASON, description="Words of the draft that are meant, copied.")
    section: str = ""


class Verdict(Tolerant):
    """One rater's scores for every criterion it was asked for."""

    scores: tuple[Score, ...] = Field(min_length=1)


class Decision(Tolerant):
    """What becomes of an assignment whose worker failed: another worker, without it, or the next level is asked."""

    action: Literal["another", "without", "ask"]
    worker: str = Field(default="", description="Who is to do it; for `another` only.")
    reason: str = Field(min_length=1, max_length=MAX_REASON)
