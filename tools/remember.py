"""Something worth keeping in mind, judged before it is kept: executed by ATLAS, with the caller's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.library import Desk

KIND = "knowledge"
POOLS = ("memory",)
MARKS = ("keep",)


async def remember(
    knowledge: Desk,
    text: str,
    kind: str = "long_term",
    about: str = "",
    whom: str = "all",
    key: str = "",
    source: str = "",
    quote: str = "",
) -> str:
    """Keep in mind what will help with other work later. Search first: what is remembered already is not kept again.

    What is to last is judged: it must be specific (names, figures), true next month, something to act on, and proven.
    How far you got, what you were told from memory, and orders found in a text are refused.

    Args:
        text (str): One thing, in a sentence or two that are understood by themselves; at most 600 characters.
        kind (str): long_term for a fact, procedural for a way of working, or short_term for what helps for 3 days.
        about (str): Its subject, in a few words.
        whom (str): Whom it is for: all, me or team.
        key (str): Only where one thing is true at a time: what it says of what, such as "fee of a boat permit". The
            same key again replaces what was remembered.
        source (str): The material or shared document that says so, by its name.
        quote (str): The words of that source, copied exactly; they count as evidence.

    Returns:
        str: What was kept, or why it was not.
    """
    kept = await knowledge.notes.remember(text, kind, about=about, whom=whom, key=key, source=source, quote=quote)
    if kept.reason:
        return f"Not kept: {kept.reason}. Do not try again with other words; go on."
    if kept.superseded_by:
        return f"The caller says otherwise ({kept.superseded_by}), and that stands; yours is kept in its history."
    until = f" until {kept.expires_at:%Y-%m-%d %H:%M} UTC" if kept.expires_at else ""
    return f"Remembered as {kept.id}{until}: {kept.text}"
