"""Tools as functions, taken from their files the way the toolbox takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.constellation.run_files import RunDoor
from atlas_mcp.constellation.tool_source import read_tool
from atlas_mcp.model.task import Material
from atlas_mcp.reach.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOOLS = Path(__file__).parent.parent.parent / "tools"


def load(name: str) -> Callable[..., Any]:
    """The function of a tool's file."""
    names: dict[str, Any] = {}
    exec(read_tool(TOOLS / f"{name}.py").source, names)
    return names[name]


class Texts:
    """A run that has materials and nothing else."""

    run_id = "run-1"
    folders = ()

    def __init__(self, texts: dict[str, str], given: Sequence[Source] = ()) -> None:
        self._materials = [Material(name=name, text=text) for name, text in texts.items()]
        self.given = given

    def materials(self) -> list[Material]:
        return self._materials

    async def sources(self, name: str) -> list[Source]:
        return [one for one in self.given if one.name == name]

    async def source_names(self) -> list[str]:
        return [one.name for one in self.given]

    async def save(self, name: str, text: str) -> None: ...

    async def load(self, name: str) -> str:
        return name

    async def cite(self, evidence: object) -> None: ...

    async def submit(self, result: dict[str, Any]) -> None: ...

    async def ask_caller(self, question: str, options: Sequence[str]) -> None: ...

    async def escalate(self, reason: str) -> None: ...


@pytest.fixture
def a_run() -> Callable[..., RunDoor]:
    """Makes a run with materials of these names and texts."""
    return lambda **texts: RunDoor(Texts({name.replace("__", "."): text for name, text in texts.items()}))


@pytest.fixture
def tool() -> Callable[[str], Callable[..., Any]]:
    """Gives a tool's function by its name."""
    return load
