"""Which of the runs that wait may begin now: so many at work at once, of each caller and in all, in a fair order.

The caller who has the fewest runs at work goes first, and of theirs the oldest: one caller's many runs do not keep
another's from beginning. A run is at work while a process has it in its hands; one that waits for an answer, or was
given back, is not. Single turns are counted apart, in the same order: an agent takes one at a time, and each process
takes so many at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp.errors import LimitReached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.runs.rows import Load, RunRow


MAX_OPEN = 1_000
_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """How many runs may be at work at once, by all processes that share the record; and how many a caller may have
    that have not ended, unless `open_of` says another number for that caller."""

    in_all: int = 16
    of_caller: int = 8
    open_of: Callable[[str], int] = field(default=lambda _: MAX_OPEN)


def at_work(row: RunRow) -> bool:
    """Whether a process has the run in its hands, or had when it died."""
    return row.status == "working" and row.executor is not None


def next_up(unfinished: Sequence[RunRow], limits: Limits, able: Callable[[RunRow], bool]) -> list[RunRow]:
    """Those of the waiting runs that may begin, in order, of which some process is able to do each.

    `unfinished` are the runs of the record that have not ended, oldest first.
    """
    turns = [row for row in unfinished if row.kind == "turn"]
    work = [row for row in unfinished if row.kind != "turn"]
    return [
        *_in_turns(turns, able, in_all=len(turns), of_caller=len(turns)),
        *_in_turns(work, able, in_all=limits.in_all, of_caller=limits.of_caller),
    ]


def _in_turns(rows: Sequence[RunRow], able: Callable[[RunRow], bool], *, in_all: int, of_caller: int) -> list[RunRow]:
    busy = Counter(row.caller for row in rows if at_work(row))
    waiting: dict[str, list[RunRow]] = {}
    for row in rows:
        if not at_work(row) and able(row):
            waiting.setdefault(row.caller, []).append(row)
    chosen: list[RunRow] = []
    for _ in range(in_all - busy.total()):
        callers = [caller for caller, runs in waiting.items() if runs and busy[caller] < of_caller]
        if not callers:
            break
        first = min(callers, key=lambda caller: (busy[caller], waiting[caller][0].created_at))
        chosen.append(waiting[first].pop(0))
        busy[first] += 1
    return chosen


def admitted(load: Load, caller: str, limits: Limits) -> bool:
    """Whether a new run of the caller's may begin at once: there is room, and nobody who waits would go first."""
    theirs = load.at_work.get(caller, 0)
    if sum(load.at_work.values()) >= limits.in_all or theirs >= limits.of_caller:
        return False
    return not any(load.at_work.get(other, 0) <= theirs for other in load.waiting)


def check_open(limits: Limits, caller: str, there: int) -> None:
    """LimitReached where the caller, who has so many runs that have not ended, may have no more of them."""
    if there >= (most := limits.open_of(caller)):
        raise LimitReached(
            f"you have {there:,} runs that have not ended, and may have {most:,}. Nothing was begun. As soon as one of "
            "them ends, or you cancel one with cancel_run, there is room for another.",
            retry_after=_AGAIN_SECONDS,
        )


def why_waiting(limits: Limits) -> str:
    """Why a run has not begun that nothing else keeps from it, in words."""
    most = f"{limits.of_caller} runs of a caller and {limits.in_all} in all"
    return f"It waits for its turn: at most {most} are at work at once."
