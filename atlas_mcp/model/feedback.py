"""What a person says of a run or a turn: up or down, and words."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model._base import Frozen

MAX_COMMENT = 10_000


class Feedback(Frozen):
    """What was recorded, and of what: a run, a turn, or both. `replaced`: it took the place of the same caller's."""

    good: bool
    comment: str = ""
    replaced: bool
    run_id: str | None = None
    turn_id: str | None = None
    trace_id: str | None = Field(default=None, description="The trace that shows it, if there is one.")
    at: datetime


class Subject(Frozen):
    """What feedback is about, named by exactly one of these."""

    run_id: str | None = None
    trace_id: str | None = None
    turn_id: str | None = None

    @property
    def named(self) -> tuple[str, str]:
        """The argument that names it, and its value. InvalidInput unless it is exactly one."""
        given = [(name, value) for name, value in self if value is not None]
        if len(given) != 1:
            raise InvalidInput(
                f"exactly one of them must be given, not {' and '.join(name for name, _ in given) or 'none'}.",
                argument=", ".join(Subject.model_fields),
                next_step="Give the run_id or the trace_id of the reply or run, or the turn_id of one of its events.",
            )
        return given[0]


def checked(comment: str | None) -> str:
    """The comment without white space around it. OverLimit for one that is too long."""
    said = (comment or "").strip()
    if len(said) > MAX_COMMENT:
        raise OverLimit("comment", len(said), MAX_COMMENT)
    return said
