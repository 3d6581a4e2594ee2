"""An event in the caller's calendar: executed by ATLAS, with its door to Microsoft 365."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.reach.connectors.microsoft import Microsoft

KIND = "microsoft"
POOLS = ("mail",)
MARKS = ("write",)


async def microsoft_create_event(
    microsoft: Microsoft,
    subject: str,
    start: str,
    end: str,
    time_zone: str = "UTC",
    text: str = "",
    attendees: list[str] | None = None,
    location: str = "",
) -> str:
    """Put an event into the caller's calendar in Microsoft 365; Outlook invites those who are to attend.

    Args:
        subject (str): What it is.
        start (str): When it begins, such as 2026-05-01T09:30:00, in that time zone.
        end (str): When it ends, in the same form.
        time_zone (str): Such as UTC or Europe/Berlin.
        text (str): What it is about, as plain text.
        attendees (list): The mail addresses of those who are invited.
        location (str): Where it is.

    Returns:
        str: That it is in the calendar, and who was invited.
    """
    return await microsoft.create_event(subject, start, end, time_zone, text, attendees or (), location)
