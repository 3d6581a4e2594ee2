"""What an export, an import or a move came to."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from atlas_mcp.model._base import Frozen


class Carried(Frozen):
    """How much of a constellation was written, read or moved; `notes` say what was left out, and what to do next."""

    agents: int = 0
    blocks: int = 0
    revisions: int = 0
    passages: int = Field(default=0, description="Texts in the agents' archives.")
    turns: int = 0
    runs: int = 0
    documents: int = 0
    tools: int = 0
    backup: Path | None = Field(default=None, description="Where what was replaced was exported to.")
    notes: tuple[str, ...] = ()


class Moved(Frozen):
    """What became of one constellation when its Letta was drained; `problem` says why it is still there."""

    caller: str
    to: str
    carried: Carried = Carried()
    problem: str | None = None
