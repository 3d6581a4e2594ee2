"""A stretch of one of the run's materials: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("materials",)


def read_material(run: RunDoor, name: str, start: int = 0, length: int = 6000) -> str:
    """Read a material of this task, whole or from any place on.

    Args:
        name (str): The material's name, as list_materials or a search gives it.
        start (int): Where to begin, in characters from the beginning; a search hit's `start` can be used.
        length (int): How many characters to read, up to 12,000.

    Returns:
        str: A first line that says which characters follow and how to read on, then the text as it stands.
    """
    material = run.material(name)
    total = len(material.text)
    if not 0 <= start < total:
        raise ValueError(f"start: {start} is outside of {material.name!r}; it may be 0 to {total - 1}")
    end = min(total, start + max(1, min(length, 12_000)))
    more = f"; more follows: start={end}" if end < total else "; that is its end"
    return f"[{material.name}: characters {start} to {end} of {total}{more}]\n{material.text[start:end]}"
