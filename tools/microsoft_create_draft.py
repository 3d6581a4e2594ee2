"""A draft in the caller's mail: executed by ATLAS, with its door to Microsoft 365."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.microsoft import Microsoft

KIND = "microsoft"
POOLS = ("mail",)
MARKS = ("write",)


async def microsoft_create_draft(
    microsoft: Microsoft, to: list[str], subject: str, text: str, cc: list[str] | None = None
) -> str:
    """Put a message into the drafts of the caller's mail in Microsoft 365. It is not sent: the caller may do that.

    Args:
        to (list): The mail addresses that it is for.
        subject (str): Its subject.
        text (str): Its text, as plain text.
        cc (list): Mail addresses that get a copy.

    Returns:
        str: Where the draft lies.
    """
    return await microsoft.create_draft(to, subject, text, cc or ())
