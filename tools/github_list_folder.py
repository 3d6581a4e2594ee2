"""A folder on GitHub: executed by ATLAS, with its door to GitHub."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.github import GitHub

KIND = "github"
POOLS = ("github",)
MARKS = ("read",)


async def github_list_folder(github: GitHub, repository: str, path: str = "", ref: str = "") -> str:
    """List what is in a folder of a repository on GitHub.

    Args:
        repository (str): As owner/name.
        path (str): From the repository's root; without one the root itself.
        ref (str): A branch, tag or commit; without one the default branch.

    Returns:
        str: JSON {"repository", "path", "entries", "not_shown"}; folders end in a slash, files have their size.
    """
    import json

    found = await github.list_folder(repository, path, ref)
    while len(answer := json.dumps(found, ensure_ascii=False)) > 18_000:
        found["entries"].pop()
        found["not_shown"] += 1
    return answer
