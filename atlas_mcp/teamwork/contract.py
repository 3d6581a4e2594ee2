"""What teamwork needs of the rooms around it, and nothing more: one caller's agents, and the run it works in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atlas_mcp.constellation.contract import OnEvent, Tools, ToolSession
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.context import ContextItem
    from atlas_mcp.model.learning import Judged, Known
    from atlas_mcp.model.memory import Block
    from atlas_mcp.model.question import Asking
    from atlas_mcp.model.run import Event
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.reach.sources import Source, SourceName
    from atlas_mcp.runs.changes import Change


class Remembered(Protocol):
    """What is remembered, looked at for what agents should be given."""

    async def about(self, asked: str, *, project: str | None = None) -> list[ContextItem]: ...

    async def forgotten(self, ids: Sequence[str]) -> frozenset[str]: ...


class Memory(Protocol):
    """What the constellation learned from its runs."""

    async def near(self, text: str) -> list[Known]: ...

    async def keys(self) -> list[str]: ...

    async def keep(self, judged: Sequence[Judged]) -> None: ...


class Given(Protocol):
    """What a run's agents were given from outside."""

    async def named(self, run_id: str, names: Iterable[str]) -> list[Source]: ...

    async def listed(self, run_id: str) -> list[SourceName]: ...


class Agents(Protocol):
    """One caller's agents. A turn with a key that is known gives that turn's result again, also after a crash."""

    @property
    def roster(self) -> Roster: ...

    @property
    def toolbox(self) -> Tools: ...

    @property
    def remembered(self) -> Remembered: ...

    @property
    def learnings(self) -> Memory: ...

    @property
    def sources(self) -> Given: ...

    async def get_memory(self, agent: str) -> Sequence[Block]: ...

    def hosting(self, run_id: str, guests: tuple[AgentSpec, ...], /) -> Agents: ...

    async def dismiss(self, run_id: str, *, ended: bool) -> bool: ...

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
        asked_by: tuple[str, str] | None = None,
    ) -> TurnResult: ...


class Journal(Protocol):
    """The run that the work belongs to. Changes that are written together are written whole or not at
    all, and what is written again with a key that is known counts once. What is told is stored with the next change, at
    the latest in a moment."""

    @property
    def run_id(self) -> str: ...

    @property
    def caller(self) -> Caller: ...

    @property
    def resumed(self) -> bool: ...

    async def write(self, *changes: Change) -> object: ...

    def tell(self, *changes: Change) -> None: ...

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object: ...

    async def history(self) -> list[Event]: ...

    async def put(self, asking: Asking, *, key: str, most: int | None = None) -> bool: ...

    async def ask(self, asking: Asking, *, key: str) -> str: ...

    async def save(self, name: str, text: str) -> None: ...

    async def load(self, name: str) -> str | None: ...
