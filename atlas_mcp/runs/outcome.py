"""What executes a run, and what it comes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.result import Result

if TYPE_CHECKING:
    from atlas_mcp.runs.context import RunContext


class RunOutcome(Frozen):
    """The end of a run that went well: a team task's result or a turn's reply, and what to know about it."""

    result: Result | None = None
    reply: str | None = None
    note: str | None = None


Executor: TypeAlias = "Callable[[RunContext], Awaitable[RunOutcome]]"
"""Does one run. It may be called again for the same run after its process ended, and then finds what it had saved.

An AtlasError it raises fails the run with that text. It lets cancellation and RunLost out.
"""
