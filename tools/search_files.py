"""Where something stands in the user's files: executed by ATLAS, with its door to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.files.door import FilesDoor

KIND = "files"
POOLS = ("files",)
MARKS = ("read",)


async def search_files(files: FilesDoor, words: str = "", name: str = "*", folder: str = "", limit: int = 10) -> str:
    """Look for files of the user's by name, by what they say, or by both.

    Args:
        words (str): Words that stand in a line just so, whatever their case; empty to go by the name alone.
        name (str): The file's name, where * stands for anything, such as "*.pdf"; with a / it is the whole path.
        folder (str): The folder to look in with all below it; empty for all folders.
        limit (int): How many files to get, 1 to 30.

    Returns:
        str: JSON {"hits": [{"path", "lines": [{"line", "text"}]}], "left_out"}: in the order of the names; `left_out`
        is how many files more there are, or were not looked through.
    """
    import json

    found = await files.search(words, name, folder, max(1, min(limit, 30)))
    while len(said := json.dumps(found, ensure_ascii=False)) > 18_000:
        found["hits"].pop()
        found["left_out"] += 1
    for hit in found["hits"]:
        if lines := hit.get("lines"):
            await files.given(hit["path"], "\n".join(line["text"] for line in lines))
    return said
