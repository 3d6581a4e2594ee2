"""What agents hand each other in a team task; each is read from an agent's answer."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Tolerant
from atlas_mcp.model.result import Evidence


class Assignment(Tolerant):
    """What a supervisor asks of one worker."""

    worker: str
    task: str = Field(min_length=1)
    context: str = ""
    restrictions: tuple[str, ...] = ()


class Delegation(Tolerant):
    """How a supervisor splits its part among its workers."""

    assignments: tuple[Assignment, ...] = Field(min_length=1)


class Findings(Tolerant):
    """What a worker found, or what a supervisor merged: the text, what supports it, and what is still open."""

    text: str = Field(min_length=1)
    evidence: tuple[Evidence, ...] = ()
    gaps: tuple[str, ...] = ()


class DraftSection(Tolerant):
    """A part of the text under work; revisions name sections by their id."""

    id: str = Field(min_length=1, max_length=40)
    heading: str = ""
    text: str = Field(min_length=1)


class Draft(Tolerant):
    """The text under work. A revision carries only the sections that it replaces."""

    title: str = ""
    sections: tuple[DraftSection, ...] = Field(min_length=1)

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
    """One rater's judgement of one criterion; `section` names the section to revise, or is empty for the whole."""

    criterion: str
    score: float = Field(ge=1, le=5)
    reason: str = Field(min_length=1)
    section: str = ""


class Verdict(Tolerant):
    """One rater's scores for every criterion it was asked for."""

    scores: tuple[Score, ...] = Field(min_length=1)
