"""What a look at the stores of memory came to: whether each has what the record has."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.status import Health


class Problem(Frozen):
    """One kind of difference: how many times, in words, and whether it was mended."""

    text: str
    count: int
    mended: bool = False


class StoreCheck(Frozen):
    """One store. `looked_at` is how many entries were compared, all or a sample; `idle` has nothing to compare, or is
    another process's to look at."""

    store: str
    health: Health
    text: str
    looked_at: int = 0
    problems: list[Problem] = Field(default_factory=list[Problem])


class MemoryCheck(Frozen):
    """All stores, looked at from `at` on, for so many seconds."""

    at: datetime
    seconds: float
    stores: list[StoreCheck]

    @property
    def health(self) -> Health:
        """That of the store that is worst."""
        found = {store.health for store in self.stores}
        return "failing" if "failing" in found else "warning" if "warning" in found else "ok"

    @property
    def problems(self) -> list[Problem]:
        """Those that were not mended."""
        return [problem for store in self.stores for problem in store.problems if not problem.mended]
