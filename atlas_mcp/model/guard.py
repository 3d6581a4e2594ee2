"""What a check of a text finds: which rule, where, and what happened because of it.

A finding never holds a secret: its excerpt is a few words of the text, with what looks like a key taken out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

Direction = Literal["entering", "leaving"]
LayerName = Literal["rules", "validator", "quality", "rails"]
Severity = Literal["low", "medium", "high"]
GuardAction = Literal["flag", "cut", "refuse"]
"""What happens to the text: it goes on and is marked, it goes on without the words found, or it does not go on."""


class Finding(Frozen):
    """One thing that a layer found in a text.

    `offset` counts characters from 0 and `line` from 1; both are None where the whole text is meant. `text` is a
    sentence for a reader: what was found. `excerpt` has at most 120 characters.
    """

    layer: LayerName
    rule: str
    severity: Severity
    action: GuardAction
    text: str
    offset: int | None = Field(default=None, ge=0)
    line: int | None = Field(default=None, ge=1)
    excerpt: str = Field(default="", max_length=120)

    def told(self) -> str:
        """The finding in a line: the rule, the place, what it is."""
        place = f" in line {self.line}" if self.line else ""
        return f"{self.rule}{place}: {self.text}"


class Verdict(Frozen):
    """What all layers that are on found of one text; `text` is the text as it may go on."""

    passed: bool
    text: str
    findings: tuple[Finding, ...] = ()
    next_step: str = ""


class Held(Frozen):
    """A check that an agent's answer did not pass while the work went on, and what happened next."""

    agent: str
    what: str = Field(description="Which answer of its work it was, such as findings or write.")
    finding: Finding
    then: str = Field(description="What happened next, in words.")
