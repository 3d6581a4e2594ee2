"""A new file in the caller's OneDrive: executed by ATLAS, with its door to Microsoft 365."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.microsoft import Microsoft

KIND = "microsoft"
POOLS = ("documents",)
MARKS = ("write",)


async def microsoft_upload_file(microsoft: Microsoft, folder: str, name: str, text: str) -> str:
    """Save a text as a new file in the caller's OneDrive. A file that is there already is never written over.

    Args:
        folder (str): The folder from the drive's root, such as Documents/Reports.
        name (str): The file's name, such as summary.md.
        text (str): What is in it, up to 1,000,000 characters.

    Returns:
        str: Where the file lies.
    """
    return await microsoft.upload_file(folder, name, text)
