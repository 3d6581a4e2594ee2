"""What can be changed in a run in one step: values that say it, told to `RunContext.write`.

Beside those here, a `Plan`, a `Progress` and a `Result` are changes too: each is shown instead of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from atlas_mcp.model.plan import Plan
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Progress
from atlas_mcp.model.usage import Usage


@dataclass(frozen=True)
class Entry:
    """An event before it has its number; with a `key`, it is written once in its run. `data` is plain JSON.

    `cause_key` is the key of the event that led to it.
    """

    actor: str
    type: str
    text: str
    turn_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = None
    cause_key: str | None = None


@dataclass(frozen=True)
class Kept:
    """A text that the run keeps under a name, instead of the one it had; one that is `passing`, until it ends."""

    name: str
    text: str
    passing: bool = False


@dataclass(frozen=True)
class Spent:
    """What the run has cost more. The same `key` (the turn's id) counts once, also in a later attempt."""

    usage: Usage
    key: str | None = None


Change: TypeAlias = Entry | Kept | Spent | Plan | Progress | Result
AFTER_THE_END = (Kept, Spent, Result)
"""What the executor of a cancelled run may still bring in: work that was done, and what it cost."""
