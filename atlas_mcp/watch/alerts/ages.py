"""How long runs have been going on, whatever somebody does to the clock meanwhile.

A run's row says when it was asked for, by a clock that people and time servers set. From the moment a process first
sees the run it counts by its own steady clock instead; and what was not there when it looked last is no older than
that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Ages:
    """What one process has seen of the runs that go on; `steady` is its clock, in seconds."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._first: dict[str, tuple[float, float]] = {}
        self._looked: float | None = None

    def look(self, going_on: Mapping[str, float]) -> dict[str, float]:
        """The ages, in seconds, of all runs that go on, given their ages by the wall clock."""
        now = self._steady()
        most = float("inf") if self._looked is None else now - self._looked
        for run_id, age in going_on.items():
            if run_id not in self._first:
                self._first[run_id] = (min(max(0.0, age), most), now)
        self._looked = now
        return {run_id: self._age(run_id, now) for run_id in going_on}

    def ended(self, run_id: str, seconds: float) -> float:
        """How long a run took that has ended, after `seconds` by the wall clock."""
        took = max(0.0, seconds)
        return min(took, self._age(run_id, self._steady())) if run_id in self._first else took

    def forget_all_but(self, run_ids: Iterable[str]) -> None:
        """Keep nothing of other runs."""
        kept = set(run_ids)
        self._first = {run_id: first for run_id, first in self._first.items() if run_id in kept}

    def _age(self, run_id: str, now: float) -> float:
        age, at = self._first[run_id]
        return age + now - at
