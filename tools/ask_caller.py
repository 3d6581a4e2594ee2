"""A question to the one who set the task: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("asking",)


async def ask_caller(run: RunDoor, question: str, options: list[str] | None = None) -> str:
    """Ask the person who set this task for a choice or a fact without which the work would go the wrong way.

    Args:
        question (str): One question that can be answered without knowing anything else of your work.
        options (list): The answers to choose from, if there are only these.

    Returns:
        str: That it was passed on. The answer comes with your next message, not in this turn.
    """
    if not question.strip():
        raise ValueError("question: it is empty")
    await run.ask_caller(question.strip(), options or [])
    return (
        "Your question was passed on. Finish your turn with what you have, and say what depends on the answer: it "
        "comes with your next message."
    )
