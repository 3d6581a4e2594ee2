"""A question of a run: what it cannot go on without knowing, and what is done if nobody answers."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

QuestionKind = Literal["approval", "choice", "text"]


class Question(Frozen):
    """Asked once; `safe` is the answer that is taken at the deadline, and never one that costs or destroys."""

    id: str
    asked_by: str = Field(description="The agent that asks, or 'atlas'.")
    kind: QuestionKind
    text: str
    options: tuple[str, ...] = Field(default=(), description="The answers that fit; none for a text of one's own.")
    safe: str = Field(description="What is taken if nobody answers in time.")
    deadline: datetime
