"""For whom a tool works when it reaches outside: what it may be told, and whom it tells what it found and spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller


class Found(Protocol):
    """Told of each text from outside that an agent was given, so that what is quoted of it can be checked later."""

    async def __call__(self, name: str, text: str, *, title: str = "") -> None: ...


class Spent(Protocol):
    """Told what a call did cost, in dollars; raises BudgetSpent before the call where there is no room for as much."""

    async def __call__(self, service: str, usd: float) -> None: ...


@dataclass(frozen=True)
class CallContext:
    """One agent in one turn of its caller's; `run_id` is None in a chat."""

    caller: Caller
    agent: str
    run_id: str | None
    found: Found
    spent: Spent
