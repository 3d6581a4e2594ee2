"""The tools of the agents that their Letta runs itself: the pure ones, put there as source.

Promise: an agent that is current has in Letta exactly those of its pure tools that this Letta takes, each once; the
others stay with ATLAS, which executes them. Several processes put a tool there once. Tools that somebody else gave the
agent are left alone, but for those that would be offered twice.

Letta's own servers are given none: a call takes them seconds (a process in a sandbox each time). There ATLAS executes
them, and the tools for blocks as well, since those servers keep neither limits nor history.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.constellation.core_memory import CORE_TOOLS
from atlas_mcp.constellation.names import TOOLS_LOCK
from atlas_mcp.letta.states import NewTool

if TYPE_CHECKING:
    from atlas_mcp.constellation.contract import SourceTools
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import AgentState, ToolState
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.store.locks import Locks


class RegisteredTools:
    """The pure tools of a toolbox, as far as one Letta runs them."""

    def __init__(self, letta: Letta, locks: Locks, toolbox: SourceTools) -> None:
        self._letta = letta
        self._locks = locks
        self._toolbox = toolbox

    def of(self, spec: AgentSpec) -> dict[str, NewTool]:
        """Those of the agent, by name; one that this Letta has not refused yet counts as taken. Asks nobody."""
        if self._letta.kind != "embedded":
            return {}
        tools = [NewTool(t.spec, t.source, t.mark) for t in self._toolbox.pure(spec)]
        return {t.spec.name: t for t in tools if not self._letta.tools.refuses(t)}

    async def put(self, spec: AgentSpec) -> None:
        """Put those of the agent into Letta, as far as it takes them."""
        if wanted := self.of(spec):
            async with self._locks.hold(TOOLS_LOCK):
                for tool in wanted.values():
                    await self._letta.tools.register(tool)

    async def give(self, state: AgentState, spec: AgentSpec) -> None:
        """Make the agent's tools in Letta those of the toolbox. LettaLost if the agent is gone."""
        wanted, has = self.of(spec), {t.name for t in state.tools if t.ours}
        new = [tool for name, tool in wanted.items() if name not in has]
        gone = [tool for tool in state.tools if tool.name not in wanted and self._is_ours_to_run(tool, spec)]
        if not new and not gone:
            return
        async with self._locks.hold(TOOLS_LOCK):
            for tool in new:
                await self._letta.tools.attach(state.id, tool)
            for tool in gone:
                await self._letta.tools.detach(state.id, tool.id)

    def _is_ours_to_run(self, tool: ToolState, spec: AgentSpec) -> bool:
        """Whether ATLAS gave the agent the tool, or offers another of that name beside it."""
        offered = {pure.name for pure in self._toolbox.pure(spec)}
        if self._letta.kind != "embedded":
            offered.update(CORE_TOOLS)
        return tool.ours or tool.name in offered
