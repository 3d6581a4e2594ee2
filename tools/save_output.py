"""A text kept for the rest of the run: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("outputs", "analysis")
MARKS = ("keep",)


async def save_output(run: RunDoor, name: str, text: str) -> str:
    """Keep a text under a name, for yourself and your colleagues in this task. The same name is written over.

    Args:
        name (str): What to keep it under, for example "outline".
        text (str): The text.

    Returns:
        str: What was kept, and how to get it again.
    """
    await run.save(name, text)
    return f'Kept {len(text):,} characters as {name!r}: load_output(name="{name}") gives them again.'
