"""A stretch of a long text, as an agent is given it: with a first line that says how it is cited and how to read on."""

from __future__ import annotations

from atlas_mcp.errors import ToolFailed

MOST_CHARS = 12_000


def stretch(name: str, text: str, start: int, length: int) -> str:
    """The text's characters from `start`, up to MOST_CHARS of them. ToolFailed for a start outside of it."""
    total = len(text)
    if not text.strip():
        return f"[{name}: it has no text]"
    if not 0 <= start < total:
        raise ToolFailed(f"start: {start} is outside of {name}; it may be 0 to {total - 1}.")
    end = min(total, start + max(1, min(length, MOST_CHARS)))
    more = f"; more follows: start={end}" if end < total else "; that is its end"
    return f"[{name}: characters {start} to {end} of {total}{more}]\n{text[start:end]}"
