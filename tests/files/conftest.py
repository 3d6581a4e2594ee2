"""A folder of the user's, and the door to it as tools have it in one turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.constellation.tool_source import read_tool
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.files.door import FilesDoor, open_files
from atlas_mcp.store.record import open_record
from tests.files.made import TOOLS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path
    from typing import Any

ME = Caller(id="local:me")


class Turn:
    """One turn of an agent that may see the folder `docs`; `given` is what it was given, by name."""

    def __init__(self, door: FilesDoor, given: dict[str, list[str]], docs: Path) -> None:
        self.door = door
        self.given = given
        self.docs = docs

    async def call(self, tool: str, /, **arguments: object) -> str:
        """What that tool says, with its arguments checked as for an agent."""
        source = read_tool(TOOLS / f"{tool}.py")
        names: dict[str, Any] = {}
        exec(source.source, names)
        function: Callable[..., Awaitable[str]] = names[tool]
        return await function(self.door, **source.checked(arguments))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def turn(tmp_path: Path) -> AsyncGenerator[Turn]:
    home, docs = tmp_path / "home", tmp_path / "docs"
    home.mkdir()
    docs.mkdir()
    given: dict[str, list[str]] = {}

    async def found(name: str, text: str, *, title: str = "") -> None:
        given.setdefault(name, []).append(text)

    async def spent(service: str, usd: float) -> None:
        raise AssertionError(service)

    settings = Reaching(files=(docs,))
    async with open_record(home) as record, open_files(settings, record, home) as opener:
        yield Turn(opener(CallContext(ME, "document_researcher", None, found, spent)), given, docs)
