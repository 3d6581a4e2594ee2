"""An agent's own observation, shared with all: executed by ATLAS, with the caller's knowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.library import Desk

KIND = "knowledge"
POOLS = ("knowledge",)
MARKS = ("keep",)


async def share_observation(knowledge: Desk, title: str, text: str) -> str:
    """Share what you found out with all agents of this constellation, now and later, under your own name.

    For what will be true and useful beyond this task. The same title again takes your earlier text's place.

    Args:
        title (str): What it is about, in a few words.
        text (str): The observation, with its source; up to 20,000 characters.

    Returns:
        str: What was kept, and how it is found again.
    """
    made = await knowledge.share(title, text)
    if not made.changed:
        return f"{made.name!r} says so already; nothing changed."
    return f"Shared {made.chars:,} characters as {made.name!r}, revision {made.revision}; search_knowledge finds it."
