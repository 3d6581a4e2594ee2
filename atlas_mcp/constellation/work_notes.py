"""What a constellation remembers of the work it has done: a line in `current_state`, and one in `team_notes`.

Only the goal, which is the caller's own, and figures enter: nothing of what the materials or the agents said, so that
no stranger's words get into every agent's context. The oldest notes make room for the newest. Noting a run again
changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import StaleRevision, UnknownBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.result import Rating, Result

AUTHOR = "atlas"
_GOAL_CHARS = 90


async def note_work(constellation: Constellation, run_id: str, goal: str, result: Result) -> list[str]:
    """Write the finished task into the shared blocks; the labels of those that changed.

    A roster without these blocks is left as it is. Raises what changing a block raises.
    """
    line = f"{run_id}: {_short(goal)} ({_outcome(result)})"
    return [label for label in ("current_state", "team_notes") if await _note(constellation, label, run_id, line)]


async def _note(constellation: Constellation, label: str, run_id: str, line: str) -> bool:
    agent = constellation.roster.with_role("global_supervisor").name
    while True:
        try:
            block = (await constellation.get_memory(agent, label))[0]
        except UnknownBlock:
            return False
        if run_id in block.value:
            return False
        lines = [f"Last finished: {line}"] if label == "current_state" else [*block.value.splitlines(), f"- {line}"]
        value = _fitting(lines, block.limit)
        try:
            await constellation.update_memory(
                agent, label, value=value, expected_revision=block.revision, author=AUTHOR
            )
        except StaleRevision:
            continue  # somebody else wrote meanwhile: what they wrote stays
        return True


def _short(goal: str) -> str:
    words = " ".join(goal.split())
    return words if len(words) <= _GOAL_CHARS else f"{words[:_GOAL_CHARS]}…"


def _outcome(result: Result) -> str:
    mean = _mean(result.ratings, result.best_round)
    if mean is None:
        return "not rated"
    return f"rated {mean:.1f} of 5, {'passed' if result.passed else 'below 4.0'}"


def _mean(ratings: Sequence[Rating], best: int) -> float | None:
    scores = [rating.score for rating in ratings if rating.round == best]
    return sum(scores) / len(scores) if scores else None


def _fitting(lines: list[str], limit: int) -> str:
    while len(lines) > 1 and len("\n".join(lines)) > limit:
        lines = lines[1:]
    return "\n".join(lines)[:limit]
