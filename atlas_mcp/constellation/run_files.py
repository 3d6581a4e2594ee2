"""What the run tools may touch of a run: materials, outputs, evidence, result. Implemented by whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.result import Evidence
    from atlas_mcp.model.task import Material


class RunFiles(Protocol):
    """One run as an agent's tools see it in one turn. What cannot be done is raised as ToolFailed or InvalidInput."""

    def materials(self) -> Sequence[Material]:
        """Every material of the run, in the caller's order."""
        ...

    async def save(self, name: str, text: str) -> None:
        """Keep a text under that name; the same name is written over."""
        ...

    async def load(self, name: str) -> str:
        """The text kept under that name; raises ToolFailed, naming those there are, if there is none."""
        ...

    async def cite(self, evidence: Evidence) -> None:
        """Note that the turn relies on this evidence."""
        ...

    async def submit(self, result: dict[str, Any]) -> None:
        """Hand in the turn's answer in its typed form; the last one counts."""
        ...

    async def escalate(self, reason: str) -> None:
        """Tell the one who set the task that it cannot be done as asked, and why."""
        ...
