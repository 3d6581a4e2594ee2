"""What the run tools may touch of a run: materials, outputs, evidence, result. Implemented by whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.result import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.task import Material


class RunFiles(Protocol):
    """One run as an agent's tools see it in one turn. What cannot be done is raised as ToolFailed or InvalidInput."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

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

    async def ask_caller(self, question: str, options: Sequence[str]) -> None:
        """Pass a question on to the caller; ToolFailed when there were too many."""
        ...


class RunDoor:
    """A run as the sources of run tools use it: plain values in and out, so that they import nothing of ours."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files
        self.save = files.save
        self.load = files.load
        self.submit = files.submit
        self.escalate = files.escalate
        self.ask_caller = files.ask_caller
        self.materials = files.materials

    def material(self, name: str) -> Material:
        """The material of that name, whatever its case; ToolFailed, naming those there are, if there is none."""
        materials = self.materials()
        wanted = name.strip()
        for material in materials:
            if material.name == wanted:
                return material
        for material in materials:
            if material.name.casefold() == wanted.casefold():
                return material
        names = [m.name for m in materials]
        raise ToolFailed(
            f"there is no material {name!r} in this task. There are: {', '.join(map(repr, names)) or 'none'}.",
            allowed=names,
        )

    async def cite(self, claim: str, source: str, quote: str) -> None:
        """Note that the claim relies on those words of that source."""
        await self._files.cite(Evidence(claim=claim, source=source, quote=quote))
