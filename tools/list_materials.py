"""The run's materials by name: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("materials",)


def list_materials(run: RunDoor) -> str:
    """List the materials of this task: the name of each and its length in characters."""
    import json

    listing = [{"name": m.name, "characters": len(m.text)} for m in run.materials()]
    return json.dumps({"materials": listing}, ensure_ascii=False)
