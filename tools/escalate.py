"""Saying that a task cannot be done as asked: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("answer",)


async def escalate(run: RunDoor, reason: str) -> str:
    """Tell the one who gave you this task that it cannot be done as asked, or that something important is in the way.

    Args:
        reason (str): What stands in the way, what you tried, and what would help, in a few sentences.

    Returns:
        str: That it was passed on.
    """
    if not reason.strip():
        raise ValueError("reason: it is empty")
    await run.escalate(reason.strip())
    return "Passed on. Go on with what you can do, and say in your answer what is missing."
