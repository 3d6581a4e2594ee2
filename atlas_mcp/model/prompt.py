"""Prompts that are kept in versions: the personas of agents, and what opens the questions of team tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.usage import Usage

PERSONA, TASK = "persona.", "task."
"""How names begin: `persona.AGENT` is an agent's character, `task.PART` what opens a question of a team task."""

Origin = Literal["file", "optimised", "edited"]
"""Where a text comes from: the file as it was first used, an optimiser, or the file after it was changed."""


class PromptVersion(Frozen):
    """A text that a prompt had, or was proposed to have. Nothing of it ever changes but `promoted_at`."""

    name: str
    version: int = Field(ge=1)
    text: str
    origin: Origin
    parent: int | None = Field(default=None, description="The version that it was made from.")
    evidence: dict[str, Any] | None = Field(default=None, description="What it was compared by, and how both did.")
    made_at: datetime
    promoted_at: datetime | None = Field(default=None, description="Since when it was to lead instead of the file.")

    @property
    def label(self) -> str:
        """As spans name it."""
        return f"{self.name}/{self.version}"


class PromptInfo(Frozen):
    """A prompt as it stands: `version` leads, None for a file's text that no agent has used yet."""

    name: str
    leads: Literal["file", "version"]
    version: int | None
    newest: int = Field(description="The number of its newest version; 0 where there is none.")
    promoted_at: datetime | None = None
    note: str = Field(default="", description="What to know of it, and how to change that; mostly empty.")


class Optimised(Frozen):
    """What an attempt to better a prompt came to; `version` is None where no text came of it that can be used."""

    name: str
    present: int
    version: int | None
    promoted: bool = False
    pieces: int = Field(description="Pieces of evidence that it was made from.")
    usage: Usage
    text: str = Field(description="What came of it, and what to do next.")
