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
    from atlas_mcp.constellation.tool_turn import ToolTurn
    from atlas_mcp.model.agent import AgentSpec, Level, Tier
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.permissions import Permissions
    from atlas_mcp.model.plan import Lack
    from atlas_mcp.model.turn import ToolSpec, TurnResult
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.held import HeldCall
    from atlas_mcp.reach.tool import OutsideTool
    from atlas_mcp.store.record import Record


class ModelChoice(Protocol):
    """Which model answers for whom, and what it costs."""

    def handle(self, tier: Tier, level: Level, own: str | None = None) -> str: ...

    def cost(self, handle: str, input_tokens: int, output_tokens: int) -> float | None: ...


class ToolSession(Protocol):
    """The tools one agent may use in one turn; `call` raises ToolFailed with a text that the agent can use.

    `make` makes a call that was held and approved; `about` says where a tool is from and what it does, for the journal.
    """

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    @property
    def turn(self) -> ToolTurn: ...

    def about(self, name: str) -> dict[str, Any]: ...

    async def call(self, name: str, arguments: dict[str, Any]) -> str: ...

    async def make(self, held: HeldCall) -> str: ...


class Tools(Protocol):
    """The tools there are."""

    @property
    def available(self) -> frozenset[str]: ...

    def session(self, agent: AgentSpec, run: RunFiles | None, turn: ToolTurn | None = None) -> ToolSession: ...

    def lacks(self, agent: AgentSpec) -> list[Lack]: ...


class SourceTools(Tools, Protocol):
    """The tools there are, some of which a Letta can run itself."""

    def pure(self, agent: AgentSpec) -> Sequence[ToolSource]: ...

    def knowing(self, library: Library) -> SourceTools: ...


class Outside(Protocol):
    """What tools reach outside of ATLAS, and the user's word on what they may do there.

    `kinds` are the doors that the settings open; `tools` those of other servers, as they stand now. `has_folders`:
    whether the settings allow folders to look into.
    """

    @property
    def has_folders(self) -> bool: ...

    @property
    def kinds(self) -> frozenset[str]: ...

    @property
    def tools(self) -> Sequence[OutsideTool]: ...

    @property
    def permissions(self) -> Permissions: ...

    @property
    def record(self) -> Record: ...

    def context(self, caller: Caller, agent: str, turn: ToolTurn) -> CallContext: ...

    def door(self, kind: str, context: CallContext) -> object: ...


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
