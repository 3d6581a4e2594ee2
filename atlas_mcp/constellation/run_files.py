"""What the run tools may touch of a run: materials, outputs, evidence, result. Implemented by whoever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.result import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.task import Material
    from atlas_mcp.reach.sources import Source

_MOST_NAMED = 20


class Citable(Protocol):
    """What may be cited: a material, or a text from outside."""

    @property
    def name(self) -> str: ...

    @property
    def text(self) -> str: ...


class RunFiles(Protocol):
    """One run as an agent's tools see it in one turn. What cannot be done is raised as ToolFailed or InvalidInput."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        ...

    @property
    def folders(self) -> Sequence[str]:
        """The folders that the caller's client allowed when the run began."""
        ...

    def materials(self) -> Sequence[Material]:
        """Every material of the run, in the caller's order."""
        ...

    async def sources(self, name: str) -> Sequence[Source]:
        """The texts from outside that this run was given under that name, oldest first; none if there are none."""
        ...

    async def source_names(self) -> Sequence[str]:
        """The names of all texts from outside that this run was given, oldest first."""
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

    async def texts(self, name: str) -> Sequence[Citable]:
        """What may be cited under that name: the material, or else what agents of this run were given from outside.

        ToolFailed, naming what there is, if there is nothing.
        """
        wanted = name.strip().casefold()
        if any(material.name.casefold() == wanted for material in self.materials()):
            return [self.material(name)]
        if found := await self._files.sources(name):
            return found
        names = [*(m.name for m in self.materials()), *await self._files.source_names()]
        shown = [*map(repr, names[:_MOST_NAMED]), *(["more"] if len(names) > _MOST_NAMED else [])]
        raise ToolFailed(
            f"{name!r} is no material of this task, and no agent of it was given it from outside, so it cannot be "
            f"cited. There are: {', '.join(shown) or 'none'}.",
            next_step="Cite what you were given; fetch a page before you cite it.",
        )

    async def cite(self, claim: str, source: str, quote: str) -> str:
        """Note that the claim relies on those words of that source; the name that the source has."""
        found = await self.texts(source)
        await self._files.cite(Evidence(claim=claim, source=found[0].name, quote=quote))
        return found[0].name
