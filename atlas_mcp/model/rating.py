"""A text that is to be rated by itself, and what its raters say of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.result import Check, Missing, Rating
from atlas_mcp.model.task import MAX_CRITERIA, MAX_MESSAGE, Criterion, Material
from atlas_mcp.model.usage import Usage
from atlas_mcp.model.work import MAX_DRAFT

MAX_TEXT = MAX_DRAFT
TEXT_CRITERIA = (
    "clear and well organised",
    "concise: nothing is said twice or beside the point",
    "complete: it answers the questions that it raises",
)


class TextTask(Frozen):
    """What is to be rated, and by what; with a `goal` as the answer to it, from the `materials` if there are any."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)
    goal: str = Field(default="", max_length=MAX_MESSAGE)
    materials: tuple[Material, ...] = ()
    criteria: tuple[Criterion, ...] = Field(default=TEXT_CRITERIA, min_length=1, max_length=MAX_CRITERIA)


class TextRating(Frozen):
    """What `rate_text` gives: the ratings, or the handle of a run that goes on."""

    status: Literal["completed", "working"]
    passed: bool | None = Field(
        default=None, description="Whether every criterion's mean reached 4.0, and no check failed."
    )
    ratings: list[Rating] = Field(default_factory=list[Rating])
    disagreements: list[str] = Field(default_factory=list[str])
    unmet: list[str] = Field(default_factory=list[str])
    checks: list[Check] = Field(default_factory=list[Check])
    missing: list[Missing] = Field(default_factory=list[Missing])
    notes: list[str] = Field(default_factory=list[str])
    usage: Usage = Usage()
    run_id: str
    trace_id: str | None = None
    note: str | None = Field(default=None, description="What to know or to do next, in words.")
