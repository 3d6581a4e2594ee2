"""A tool that is ready to be called, wherever it is from, and what the user's word makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp.model.permissions import Permissions, approval_of, rule_for

if TYPE_CHECKING:
    from atlas_mcp.constellation.tool_source import ToolSource
    from atlas_mcp.model.permissions import Approval, Mark
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.reach.tool import OutsideTool

SHIPPED = "atlas"
OWN = "own"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: of a file (`source`) or of another server (`outside`).

    `origin` is "atlas" for one that came with ATLAS, "own" for one of the user's, else the server's name. `approval`
    is what a call of it needs.
    """

    spec: ToolSpec
    kind: str
    origin: str
    pools: frozenset[str]
    marks: tuple[Mark, ...]
    approval: Approval
    source: ToolSource | None = None
    outside: OutsideTool | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """What agents call it."""
        return self.spec.name


def of_file(source: ToolSource, permissions: Permissions, *, shipped: bool) -> Tool:
    """The tool of that file."""
    rule = rule_for(permissions, source.name)
    marks, pools = rule.marks or source.marks, source.pools if rule.pools is None else rule.pools
    approval = rule.approval or approval_of(permissions, marks)
    origin = SHIPPED if shipped else OWN
    return Tool(source.spec, source.kind, origin, frozenset(pools), marks, approval, source=source)


def of_server(tool: OutsideTool, permissions: Permissions) -> Tool:
    """That tool of another server."""
    rule = rule_for(permissions, tool.name)
    marks, pools = rule.marks or tool.marks, tool.pools if rule.pools is None else rule.pools
    approval = rule.approval or approval_of(permissions, marks)
    return Tool(tool.spec, "server", tool.origin, frozenset(pools), marks, approval, outside=tool)
