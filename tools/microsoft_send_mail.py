"""A message in the caller's name: executed by ATLAS, with its door to Microsoft 365."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.microsoft import Microsoft

KIND = "microsoft"
POOLS = ("mail",)
MARKS = ("write",)


async def microsoft_send_mail(
    microsoft: Microsoft, to: list[str], subject: str, text: str, cc: list[str] | None = None
) -> str:
    """Send a message in the caller's name from Microsoft 365. It cannot be taken back: a draft is mostly better.

    Args:
        to (list): The mail addresses that it goes to.
        subject (str): Its subject.
        text (str): Its text, as plain text.
        cc (list): Mail addresses that get a copy.

    Returns:
        str: That it was sent, and to whom.
    """
    return await microsoft.send_mail(to, subject, text, cc or ())
