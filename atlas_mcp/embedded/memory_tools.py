"""Letta's own memory tools: what they are called, what they take, and how they work on the turn's memory.

They return text for the model; what they refuse they refuse with a MemoryRefused, whose text goes back to it as well.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

from atlas_mcp.embedded import passages
from atlas_mcp.embedded.memory import MemoryRefused

if TYPE_CHECKING:
    from atlas_mcp.embedded.database import Database
    from atlas_mcp.embedded.memory import WorkingMemory

_STRING = {"type": "string"}
_MOST_HITS = 50
_HIT_CHARS = 2_000


def _tool(name: str, description: str, required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": name, "description": description, "parameters": parameters}


def _text(description: str) -> dict[str, Any]:
    return _STRING | {"description": description}


def _whole(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description}


_TAGS = {"type": "array", "items": _STRING, "description": "Short labels to find it by."}

SCHEMAS: tuple[dict[str, Any], ...] = (
    _tool(
        "memory_insert",
        "Add a line to one of your memory blocks.",
        ["label", "new_string"],
        label=_text("The block's label."),
        new_string=_text("The text to add."),
        insert_line=_whole("After which line to put it: 0 for the beginning, -1 (the default) for the end."),
    ),
    _tool(
        "memory_replace",
        "Replace a piece of text in one of your memory blocks; an empty new_string removes it.",
        ["label", "old_string", "new_string"],
        label=_text("The block's label."),
        old_string=_text("The text as it stands in the block, exactly and only once."),
        new_string=_text("The text to put in its place."),
    ),
    _tool(
        "archival_memory_insert",
        "Keep a text in your archive, where you can search for it later.",
        ["content"],
        content=_text("The text: complete enough to be understood by itself."),
        tags=_TAGS,
    ),
    _tool(
        "archival_memory_search",
        "Search your archive by words.",
        ["query"],
        query=_text("The words to look for."),
        tags=_TAGS,
        top_k=_whole("At most so many results (default 10)."),
    ),
    _tool(
        "conversation_search",
        "Search the messages that you and others exchanged, also those no longer before you.",
        ["query"],
        query=_text("The words to look for."),
        limit=_whole("At most so many results (default 10)."),
    ),
)

NAMES = frozenset(schema["name"] for schema in SCHEMAS)


async def run(name: str, arguments: dict[str, Any], agent_id: str, memory: WorkingMemory, database: Database) -> str:
    """Runs one memory tool. Raises MemoryRefused for arguments that do not fit, with a text for the model."""
    schema = next(schema for schema in SCHEMAS if schema["name"] == name)
    given = _checked(name, arguments, schema["parameters"])
    if name == "memory_insert":
        return memory.insert(given["label"], given["new_string"], int(given.get("insert_line", -1)))
    if name == "memory_replace":
        return memory.replace(given["label"], given["old_string"], given["new_string"])
    if name == "archival_memory_insert":
        memory.add_note(given["content"], tuple(given.get("tags") or ()))
        return "Kept in your archive."
    limit = max(1, min(int(given.get("top_k") or given.get("limit") or 10), _MOST_HITS))
    if name == "archival_memory_search":
        return await _search_archive(agent_id, given, limit, memory, database)
    return await _search_messages(agent_id, given["query"], limit, database)


def _checked(name: str, arguments: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    properties = parameters["properties"]
    missing = [key for key in parameters["required"] if arguments.get(key) is None]
    unknown = [key for key in arguments if key not in properties]
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"does not know {', '.join(unknown)}"
        raise MemoryRefused(f"The call of {name} {problem}. It takes: {', '.join(properties)}.")
    kinds = {"string": str, "integer": (int, float), "array": list}
    given = {key: value for key, value in arguments.items() if value is not None}
    for key, value in given.items():
        if not isinstance(value, kinds[properties[key]["type"]]):
            raise MemoryRefused(f"{key} of {name} must be of type {properties[key]['type']}.")
    return given


async def _search_archive(
    agent_id: str, given: dict[str, Any], limit: int, memory: WorkingMemory, database: Database
) -> str:
    wanted = passages.Search(given["query"], tuple(given.get("tags") or ()), limit=limit)
    rows = await database.read(lambda c: passages.search(c, agent_id, wanted))
    hits = [{"when": "now", "content": note.text, "tags": list(note.tags)} for note in memory.found_notes(wanted.words)]
    hits += [{"when": row["created_at"], "content": row["text"], "tags": json.loads(row["tags"])} for row in rows]
    return _rendered(hits[:limit])


async def _search_messages(agent_id: str, query: str, limit: int, database: Database) -> str:
    words = passages.words_of(query) or [query]

    def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
        condition = " AND ".join(["instr(lower(content), lower(?))"] * len(words))
        return connection.execute(
            f"SELECT kind, content, created_at FROM message WHERE agent_id = ? AND kind IN ('user', 'assistant')"  # noqa: S608
            f" AND content != '' AND {condition} ORDER BY seq DESC LIMIT ?",
            (agent_id, *words, limit),
        ).fetchall()

    rows = await database.read(work)
    return _rendered([{"when": r["created_at"], "role": r["kind"], "content": r["content"][:_HIT_CHARS]} for r in rows])


def _rendered(hits: list[dict[str, Any]]) -> str:
    return json.dumps({"results": hits, "count": len(hits)}, ensure_ascii=False) if hits else "Nothing was found."
