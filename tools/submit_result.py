"""The typed answer to a part of the work: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("answer",)


async def submit_result(run: RunDoor, result: dict[str, Any]) -> str:
    """Hand in your answer as the object that the answer schema of your task asks for, instead of writing it as text.

    Args:
        result (dict): The object. A later one takes the place of an earlier one.

    Returns:
        str: That it was received.
    """
    if not result:
        raise ValueError("result: it is empty")
    await run.submit(result)
    return "Received. End your turn with a short sentence; do not repeat the answer."
