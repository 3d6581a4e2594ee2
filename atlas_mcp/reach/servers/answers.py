"""What another server answered, as a text for an agent: whatever it holds, within a bound.

Text and texts of resources are given as they are; links by their address; pictures and sounds are described, for agents
read. Where the text leaves out what the structured part has, that part is given as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import mcp_types as types

from atlas_mcp.reach.servers.listing import clean

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_CHARS = 19_500


def as_text(result: types.CallToolResult) -> str:
    """The whole answer, cut where it is too long, which is said."""
    parts = [part for block in result.content if (part := _block(block))]
    if result.structured_content is not None and not _repeats(parts, result.structured_content):
        parts.append(json.dumps(result.structured_content, ensure_ascii=False, indent=1))
    return cut("\n\n".join(parts)) or "(It answered with nothing.)"


def cut(text: str, most: int = MOST_CHARS) -> str:
    """The text within the bound, without what is not seen."""
    begun = clean(text[: most + 1])
    if len(text) <= most:
        return begun
    return f"{begun[:most]}\n(Cut off here: the answer has {len(text):,} characters, and {most:,} are given.)"


def _block(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent():
            return f"(A picture, {_kind(block.mime_type)}, {_size(block.data)}: not passed on.)"
        case types.AudioContent():
            return f"(A recording, {_kind(block.mime_type)}, {_size(block.data)}: not passed on.)"
        case types.ResourceLink():
            about = f": {block.description}" if block.description else ""
            return f"(A link to {block.title or block.name}, {block.uri}{about})"
        case types.EmbeddedResource(resource=types.TextResourceContents() as resource):
            return f"({resource.uri})\n{resource.text}"
        case types.EmbeddedResource(resource=types.BlobResourceContents() as resource):
            return f"({resource.uri}, {_kind(resource.mime_type)}, {_size(resource.blob)}: not passed on.)"
        case _:
            return ""


def _repeats(parts: Iterable[str], structured: Any) -> bool:
    """Whether a part of the text is the structured content, as the specification asks servers to repeat it; where that
    holds one value alone, the text is often just this value."""
    values: list[Any] = [structured]
    if isinstance(structured, dict) and len(cast("dict[str, Any]", structured)) == 1:
        values += cast("dict[str, Any]", structured).values()
    return any(part in values or _read(part) in values for part in parts)


def _read(part: str) -> Any:
    try:
        return json.loads(part)
    except (ValueError, RecursionError):
        return part


def _kind(mime_type: str | None) -> str:
    return (mime_type or "of an unknown kind")[:100]


def _size(data: str) -> str:
    return f"{len(data) * 3 // 4:,} bytes"
