"""A claim with the words of its source, noted in the run: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("evidence",)


async def cite_source(run: RunDoor, claim: str, source: str, quote: str) -> str:
    """Note that a claim of yours rests on the words of a material. Refused when those words are not in it.

    Args:
        claim (str): What you claim, in a sentence of your own.
        source (str): The name of the material it rests on.
        quote (str): The material's words that support it, word for word.

    Returns:
        str: What was noted.
    """
    for argument, value in (("claim", claim), ("source", source), ("quote", quote)):
        if not value.strip():
            raise ValueError(f"{argument}: it is empty")
    material = run.material(source)
    await run.cite(claim, material.name, quote)
    return f"Noted: {claim.strip()!r} rests on {material.name!r}."
