"""What teamwork needs of the rooms around it, and nothing more: the agents, their tools, and the run it works in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.constellation.run_files import RunFiles
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.plan import Plan
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.turn import ToolSpec, TurnResult
    from atlas_mcp.model.usage import Usage


class ToolSession(Protocol):
    """The tools one agent may use in one turn."""

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """The tool's answer; ToolFailed with a text that the agent can use."""
        ...


class Tools(Protocol):
    """The tools there are."""

    @property
    def available(self) -> frozenset[str]: ...

    def session(self, agent: AgentSpec, run: RunFiles | None) -> ToolSession: ...


class Agents(Protocol):
    """One caller's agents. A turn with a key that is known gives that turn's result again, also after a crash."""

    @property
    def roster(self) -> Roster: ...

    @property
    def toolbox(self) -> Tools: ...

    async def take_turn(
        self,
        agent: str,
        message: str,
        *,
        conversation: str | None,
        key: str,
        run_id: str | None = None,
        tools: ToolSession | None = None,
    ) -> TurnResult: ...


class Journal(Protocol):
    """The run that the work belongs to. What is written again with a key that is known counts once."""

    run_id: str
    resumed: bool

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object: ...

    async def set_plan(self, plan: Plan) -> None: ...

    async def set_progress(self, done: int, total: int, text: str) -> None: ...

    async def set_result(self, result: Result) -> None: ...

    async def add_usage(self, usage: Usage, *, key: str | None = None) -> None: ...

    async def save(self, name: str, text: str) -> None: ...

    async def load(self, name: str) -> str | None: ...
