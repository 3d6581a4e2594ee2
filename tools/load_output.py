"""A text that was kept earlier in the run: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("outputs", "analysis")


async def load_output(run: RunDoor, name: str) -> str:
    """Get a text that you or a colleague kept in this task with save_output.

    Args:
        name (str): The name it was kept under.

    Returns:
        str: The text.
    """
    return await run.load(name)
