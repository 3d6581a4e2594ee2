"""A claim with the words of its source, noted in the run: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("evidence",)


async def cite_source(run: RunDoor, claim: str, source: str, quote: str) -> str:
    """Note that a claim of yours rests on the words of a source. Refused when those words are not in it.

    Args:
        claim (str): What you claim, in a sentence of your own.
        source (str): The name of the material it rests on, or the address of a page or the name of a file that was
            read in this task.
        quote (str): The source's words that support it, word for word.

    Returns:
        str: What was noted.
    """
    for argument, value in (("claim", claim), ("source", source), ("quote", quote)):
        if not value.strip():
            raise ValueError(f"{argument}: it is empty")
    name = await run.cite(claim, source, quote)
    return f"Noted: {claim.strip()!r} rests on {name!r}."
