"""What executes a run, and what it comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.result import Result
from atlas_mcp.runs.changes import Entry, Kept, Spent

if TYPE_CHECKING:
    from atlas_mcp.runs.context import RunContext


class RunOutcome(Frozen):
    """The end of a run that went well: a team task's result or a turn's reply, and what to know about it.

    `changes` are written in the same transaction as the end.
    """

    result: Result | None = None
    reply: str | None = None
    note: str | None = None
    changes: tuple[Entry | Kept | Spent, ...] = ()

    def kept(self, name: str) -> str | None:
        """The text that the run keeps under that name by `changes`."""
        return next((c.text for c in self.changes if isinstance(c, Kept) and c.name == name), None)


Executor: TypeAlias = "Callable[[RunContext], Awaitable[RunOutcome]]"
"""Does one run. It may be called again for the same run after its process ended, and then finds what it had saved.

An AtlasError it raises fails the run with that text. It lets cancellation and RunLost out.
"""
