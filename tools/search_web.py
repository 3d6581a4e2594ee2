"""Search in the web: executed by ATLAS, with its door to a search engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.web.searching import SearchDoor

KIND = "search"
POOLS = ("web",)
MARKS = ("read",)


async def search_web(search: SearchDoor, query: str, limit: int = 5) -> str:
    """Search the web for pages about something; the best come first.

    A snippet is not a source: read a page with fetch_page before you rely on it or cite it.

    Args:
        query (str): Words to look for, up to 400 characters.
        limit (int): How many pages to get, 1 to 20.

    Returns:
        str: JSON {"hits": [{"title", "address", "snippet", "date"}]}; no hits if nothing is found.
    """
    import json

    found = await search.search(query, limit)
    hits = [
        {"title": h.title, "address": h.address, "snippet": h.snippet} | ({"date": h.date} if h.date else {})
        for h in found
    ]
    while hits and len(answer := json.dumps({"hits": hits}, ensure_ascii=False)) > 18_000:
        hits.pop()
    return answer if hits else json.dumps({"hits": []})
