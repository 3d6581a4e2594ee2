"""Searching the caller's files in OneDrive: executed by ATLAS, with its door to Microsoft 365."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.microsoft import Microsoft

KIND = "microsoft"
POOLS = ("documents",)
MARKS = ("read",)


async def microsoft_search_files(microsoft: Microsoft, query: str, limit: int = 10) -> str:
    """Search the caller's files in OneDrive by name and content.

    Args:
        query (str): Words.
        limit (int): How many to get, 1 to 50.

    Returns:
        str: JSON {"files": [{"id", "cite", "name", "kind", "size", "changed", "address"}]}, as far as they fit.
    """
    import json

    found = await microsoft.search_files(query, limit)
    while len(answer := json.dumps({"files": found}, ensure_ascii=False)) > 18_000:
        found.pop()
    return answer
