"""Which of the runs that wait may begin now: so many at work at once, of each caller and in all, in a fair order.

The caller who has the fewest runs at work goes first, and of theirs the oldest: one caller's many runs do not keep
another's from beginning. A run is at work while a process has it in its hands; one that waits for an answer, or was
given back, is not. Single turns have no part in this: an agent takes one at a time, and each process so many at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.runs.rows import Load, RunRow


@dataclass(frozen=True)
class Limits:
    """How many runs may be at work at once, by all processes that share the record."""

    in_all: int = 16
    of_caller: int = 8


def at_work(row: RunRow) -> bool:
    """Whether a process has the run in its hands, or had when it died."""
    return row.status == "working" and row.executor is not None


def next_up(unfinished: Sequence[RunRow], limits: Limits, able: Callable[[RunRow], bool]) -> list[RunRow]:
    """Those of the waiting runs that may begin, in order, of which some process is able to do each.

    `unfinished` are the runs of the record that have not ended, oldest first.
    """
    turns = [row for row in unfinished if row.kind == "turn" and not at_work(row) and able(row)]
    work = [row for row in unfinished if row.kind != "turn"]
    busy = Counter(row.caller for row in work if at_work(row))
    waiting: dict[str, list[RunRow]] = {}
    for row in work:
        if not at_work(row) and able(row):
            waiting.setdefault(row.caller, []).append(row)
    chosen: list[RunRow] = []
    for _ in range(limits.in_all - busy.total()):
        callers = [caller for caller, runs in waiting.items() if runs and busy[caller] < limits.of_caller]
        if not callers:
            break
        first = min(callers, key=lambda caller: (busy[caller], waiting[caller][0].created_at))
        chosen.append(waiting[first].pop(0))
        busy[first] += 1
    return turns + chosen


def admitted(load: Load, caller: str, limits: Limits) -> bool:
    """Whether a new run of the caller's may begin at once: there is room, and nobody is waiting for it."""
    if sum(load.at_work.values()) >= limits.in_all or load.at_work.get(caller, 0) >= limits.of_caller:
        return False
    return not any(load.at_work.get(other, 0) < limits.of_caller for other in load.waiting)


def why_waiting(limits: Limits) -> str:
    """Why a run has not begun that nothing else keeps from it, in words."""
    most = f"{limits.of_caller} runs of a caller and {limits.in_all} in all"
    return f"It waits for its turn: at most {most} are at work at once."
