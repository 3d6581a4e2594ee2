"""What every look at a store gives, put together from its differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.checked import Problem, StoreCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.status import Health

MOST = 1_000
"""So many of one kind of difference are counted, and mended at once."""


def told(store: str, looked_at: int, problems: Sequence[Problem], *, grave: bool = False) -> StoreCheck:
    """How the store is with these differences. `grave` are those that make answers wrong."""
    open_ones = [problem for problem in problems if not problem.mended]
    health: Health = "ok" if not open_ones else "failing" if grave else "warning"
    words = "; ".join(f"{problem.count:,} {problem.text}" for problem in problems) or "as it should be"
    return StoreCheck(store=store, health=health, text=f"{words}.", looked_at=looked_at, problems=[*problems])


def problem(text: str, count: int, *, mended: bool) -> list[Problem]:
    """The difference, if there is any."""
    return [Problem(text=text, count=count, mended=mended)] if count else []
