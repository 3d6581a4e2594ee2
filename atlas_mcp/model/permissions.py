"""What a tool does to the world, and whether it may do it unasked.

A tool is marked with what it may do at worst. Reading is free, and so is adding to what ATLAS itself keeps, under the
agent's own name and to be taken back; what writes elsewhere, spends or destroys needs the caller's approval unless the
settings say otherwise, and is refused where nobody can be asked.
"""

from __future__ import annotations

from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

Mark = Literal["read", "keep", "write", "spend", "destroy"]
Approval = Literal["ask", "run", "always", "allow", "refuse"]
"""Whether to ask each time, once in a run, once for ever, never, or not to do it at all."""


class ToolRule(Frozen):
    """What the user says of tools whose names fit a pattern: what they do, in which pools they are, and whether to ask.

    What is None stays as the tool's own file or server says.
    """

    marks: tuple[Mark, ...] | None = None
    pools: tuple[str, ...] | None = None
    approval: Approval | None = None


class Permissions(Frozen):
    """The user's word on tools: by mark, and by name, where `*` stands for any letters and the longest pattern wins."""

    keep: Approval = "allow"
    write: Approval = "ask"
    spend: Approval = "ask"
    destroy: Approval = "ask"
    tools: dict[str, ToolRule] = Field(default_factory=dict[str, ToolRule])


_STRICTEST: tuple[Approval, ...] = ("refuse", "ask", "run", "always", "allow")


def approval_of(permissions: Permissions, marks: Sequence[Mark]) -> Approval:
    """What a call of a tool with those marks needs: the strictest of what each of them asks for; reading needs none."""
    asked: dict[Mark, Approval] = {
        "read": "allow",
        "keep": permissions.keep,
        "write": permissions.write,
        "spend": permissions.spend,
        "destroy": permissions.destroy,
    }
    for approval in _STRICTEST:
        if any(asked[mark] == approval for mark in marks):
            return approval
    return "allow"


def rule_for(permissions: Permissions, tool: str) -> ToolRule:
    """What the user says of the tool: each thing as the longest fitting pattern that says it has it."""
    fitting = sorted((p for p in permissions.tools if fnmatchcase(tool, p)), key=len)
    said: dict[str, object] = {}
    for pattern in fitting:
        said |= permissions.tools[pattern].model_dump(exclude_none=True)
    return ToolRule.model_validate(said)


class Consent(Frozen):
    """A caller's word that a tool may be called without asking again: in one run, or for ever."""

    id: str
    caller: str
    tool: str
    run_id: str | None = Field(default=None, description="The run that it is for; none for all of them.")
    marks: tuple[Mark, ...]
    at: datetime
