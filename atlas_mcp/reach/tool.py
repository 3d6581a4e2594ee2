"""A tool that agents are offered and that no file of ours holds: one of another MCP server.

Promise of whoever makes one: `call` gives a text within bounds or raises ToolFailed with one that the agent can act on,
within a deadline of its own; it checks the arguments itself, and passes the cancellation of the call on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlas_mcp.model.permissions import Mark
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.reach.context import CallContext


class Calling(Protocol):
    """Calls the tool for one agent in one turn."""

    async def __call__(self, context: CallContext, arguments: Mapping[str, Any]) -> str: ...


def _anything(arguments: Mapping[str, Any]) -> None:
    """Refuses nothing."""


@dataclass(frozen=True)
class OutsideTool:
    """One tool, as it stands now; `origin` is the server it is of, by the name that the user gave that server.

    `marks` are what the server says the tool does, before the user's own word on it. `check` raises ToolFailed for
    arguments that `call` would refuse. Unless it is `shared`, only the home's owner has it: the server is the owner's.
    """

    spec: ToolSpec
    origin: str
    pools: tuple[str, ...]
    marks: tuple[Mark, ...]
    call: Calling
    check: Callable[[Mapping[str, Any]], None] = _anything
    shared: bool = False

    @property
    def name(self) -> str:
        """What agents call it: the server's name, `_`, and the server's own name for the tool."""
        return self.spec.name
