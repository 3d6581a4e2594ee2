"""What a constellation needs of the rooms around it, and nothing more: models, tools, and somebody to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.library import Library
    from atlas_mcp.constellation.run_files import RunFiles
    from atlas_mcp.constellation.tool_source import ToolSource
    from atlas_mcp.model.agent import AgentSpec, Level, Tier
    from atlas_mcp.model.plan import Lack
    from atlas_mcp.model.turn import ToolSpec, TurnResult


class ModelChoice(Protocol):
    """Which model answers for whom, and what it costs."""

    def handle(self, tier: Tier, level: Level, own: str | None = None) -> str: ...

    def cost(self, handle: str, input_tokens: int, output_tokens: int) -> float | None: ...


class ToolSession(Protocol):
    """The tools one agent may use in one turn; `call` raises ToolFailed with a text that the agent can use."""

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str: ...


class Tools(Protocol):
    """The tools there are."""

    @property
    def available(self) -> frozenset[str]: ...

    def session(self, agent: AgentSpec, run: RunFiles | None) -> ToolSession: ...

    def lacks(self, agent: AgentSpec) -> list[Lack]: ...


class SourceTools(Tools, Protocol):
    """The tools there are, some of which a Letta can run itself."""

    def pure(self, agent: AgentSpec) -> Sequence[ToolSource]: ...

    def knowing(self, library: Library) -> SourceTools: ...


class LockView(Protocol):
    """Which locks are held, by anyone."""

    def held_among(self, names: Iterable[str]) -> set[str]: ...


class OnEvent(Protocol):
    """Told what an agent does while its turn runs; an event with a key that was told before is the same event."""

    async def __call__(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object: ...


class Opening(Protocol):
    """What is to be stored in one transaction with the beginning of the turn; see `runs.opening`."""

    def riding(self) -> AbstractAsyncContextManager[Callable[[AsyncConnection], Awaitable[None]]]: ...


class OnAnswer(Protocol):
    """Told what a turn came to as soon as that is sure, while the last of it is still being written down."""

    def __call__(self, result: TurnResult) -> None: ...
