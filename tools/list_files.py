"""What is in the user's folders: executed by ATLAS, with its door to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.files.door import FilesDoor

KIND = "files"
POOLS = ("files",)
MARKS = ("read",)


async def list_files(files: FilesDoor, folder: str = "") -> str:
    """List a folder of the user's, or the folders that you may look into.

    Args:
        folder (str): The folder's path as an earlier list gave it; empty for the folders that there are.

    Returns:
        str: JSON {"folders": [paths], "files": [{"path", "bytes"}], "left_out": how many more there are}.
    """
    import json

    found = await files.list(folder)
    while len(said := json.dumps(found, ensure_ascii=False)) > 18_000:
        longer = max(("files", "folders"), key=lambda kind: len(found[kind]))
        found["left_out"] += len(found[longer]) - len(found[longer]) // 2
        found[longer] = found[longer][: len(found[longer]) // 2]
    return said
