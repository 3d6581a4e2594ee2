"""What teamwork needs of the rooms around it, and nothing more: one caller's agents, and the run it works in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from atlas_mcp.constellation.contract import OnEvent, Tools, ToolSession
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.plan import Lack, Plan
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.model.usage import Usage


class Lacking(Protocol):
    """Tools that know what an agent needs and does not have here, and how to add it."""

    def lacks(self, agent: AgentSpec) -> list[Lack]: ...


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
        on_event: OnEvent | None = None,
    ) -> TurnResult: ...


class Journal(Protocol):
    """The run that the work belongs to. What is written again with a key that is known counts once."""

    @property
    def run_id(self) -> str: ...

    @property
    def resumed(self) -> bool: ...

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object: ...

    async def set_plan(self, plan: Plan) -> None: ...

    async def set_progress(self, done: int, total: int, text: str) -> None: ...

    async def set_result(self, result: Result) -> None: ...

    async def add_usage(self, usage: Usage, *, key: str | None = None) -> None: ...

    async def save(self, name: str, text: str) -> None: ...

    async def load(self, name: str) -> str | None: ...
