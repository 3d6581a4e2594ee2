"""The shape of every layer of checks: rules, a validator model, the librarian's quality check, the user's rails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.guard import Direction, Finding, LayerName
    from atlas_mcp.model.usage import Usage


@dataclass(frozen=True, slots=True)
class About:
    """What a text is: its kind ("material", "page", "result", "memory", "knowledge", "answer", "output", ...) and name.

    `agent` wrote the text or is to read it; `task` is what was asked, as far as that is known; `sources` are the texts
    that what leaves may rely on, by their names; `criteria` are what it has to meet. `caller` and `run_id` say whose it
    is, and in which run a model's judgement is paid for; `spent` is told what that did cost.
    """

    kind: str
    name: str = ""
    agent: str = ""
    task: str = ""
    criteria: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    caller: Caller | None = None
    run_id: str | None = None
    spent: Callable[[Usage], None] | None = None


class Layer(Protocol):
    """One layer. Everything that it finds in a text is told; nothing is changed."""

    @property
    def name(self) -> LayerName:
        """Which layer it is."""
        ...

    async def check(self, text: str, direction: Direction, about: About) -> Sequence[Finding]:
        """What is wrong with the text; nothing if it may go on. Unavailable if the layer cannot tell now."""
        ...
