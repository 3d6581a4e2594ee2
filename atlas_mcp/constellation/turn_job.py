"""A turn under way: what the record told when it began, and what its agent and those who watch are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlas_mcp.constellation.phrases import phrase
from atlas_mcp.model.sections import section

if TYPE_CHECKING:
    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.contract import OnAnswer, OnEvent, ToolSession
    from atlas_mcp.constellation.turn_memory import TurnMemory
    from atlas_mcp.constellation.turn_rows import TurnRow
    from atlas_mcp.letta.states import ToolCall
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.watch.ledger import Reservation


@dataclass(frozen=True, slots=True)
class Begun:
    """What the record told in the moment in which the turn began.

    `others` are earlier turns of its thread of whose end nothing is known; `outdated`: the thread's prompt is older
    than what it tells of the agent; `waited`: seconds for the thread's lock, and for a place among the turns.
    """

    row: TurnRow
    kept: KeptAgent | None
    others: tuple[str, ...] = ()
    outdated: bool = False
    waited: float = 0.0


@dataclass
class Job:
    """A turn under way."""

    row: TurnRow
    spec: AgentSpec
    kept: KeptAgent
    tools: ToolSession
    memory: TurnMemory
    on_event: OnEvent | None
    on_answer: OnAnswer | None
    reserved: Reservation
    others: tuple[str, ...] = ()
    outdated: bool = False
    letta_run: str | None = None

    @property
    def offered(self) -> list[ToolSpec]:
        """The tools that ATLAS executes: those of the turn that the agent's Letta does not run itself."""
        return [*self.memory.specs, *(spec for spec in self.tools.specs if spec.name not in self.kept.tools)]

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Execute one of them. What it gives is data, and delimited as such: it may be anybody's words."""
        if any(spec.name == name for spec in self.memory.specs):
            return await self.memory.call(name, arguments)
        return section("result", await self.tools.call(name, arguments), tool=name)

    async def tell(self, type: str, text: str, key: str, **data: Any) -> None:
        """Tell whoever watches."""
        if self.on_event:
            own_key = f"{self.row.id}:{key}"
            await self.on_event(self.spec.name, type, text, turn_id=self.row.id, key=own_key, **data)

    async def warn(self, text: str, key: str) -> None:
        """Tell whoever watches that a limit is near."""
        if self.on_event:
            await self.on_event("atlas", "budget_warning", text, key=key)

    async def note_run(self, run_id: str) -> None:
        """Remember the last of Letta's runs."""
        self.letta_run = run_id

    async def tell_call(self, call: ToolCall) -> None:
        """Tell of a tool call."""
        await self.tell(
            "tool_called", phrase(self.spec.name, call), call.id, tool=call.name, **self.tools.about(call.name)
        )
