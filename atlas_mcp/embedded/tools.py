"""Tools that agents carry: Letta's memory tools, always there, and tools whose source a client uploaded.

Uploaded source is read, never run, by this process: what runs it is the runner that the app was given. Without one,
uploading is refused.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import memory_tools, paging, schema
from atlas_mcp.embedded.bodies import NewTool
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import Refused, not_found
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services

_MEMORY_TYPE = "letta_core"
_RETURN_CHARS = 50_000
_NO_SOURCE = (
    "PERMISSION_DENIED: this server takes no tool source. Start it with tool source allowed, or offer the tool with"
    " each message as one of its client_tools."
)


def wire(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "tool_type": row["tool_type"],
        "description": row["description"],
        "source_type": "python" if row["source_code"] else None,
        "source_code": row["source_code"],
        "json_schema": json.loads(row["json_schema"]),
        "args_json_schema": None,
        "tags": json.loads(row["tags"]),
        "return_char_limit": row["return_char_limit"],
        "pip_requirements": None,
        "npm_requirements": None,
        "default_requires_approval": None,
        "enable_parallel_execution": True,
        "metadata_": json.loads(row["metadata"]),
        "created_by_id": None,
        "last_updated_by_id": None,
        "project_id": None,
    }


def get(connection: sqlite3.Connection, id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM tool WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise not_found("Tool", id)
    return row


def by_name(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    if name in memory_tools.NAMES:
        base_tools(connection)
    row = connection.execute("SELECT * FROM tool WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise Refused(404, f"Tool with name {name} not found")
    return row


def of_agent(connection: sqlite3.Connection, agent_id: str) -> list[sqlite3.Row]:
    """The agent's tools in the order they were attached."""
    return connection.execute(
        "SELECT t.* FROM agent_tool l JOIN tool t ON t.id = l.tool_id WHERE l.agent_id = ? ORDER BY l.seq", (agent_id,)
    ).fetchall()


def base_tools(connection: sqlite3.Connection) -> list[str]:
    """The ids of Letta's memory tools, put into the file if they are not there or changed since."""
    ids: list[str] = []
    for known in memory_tools.SCHEMAS:
        tool_id = f"tool-{uuid.uuid5(uuid.NAMESPACE_OID, known['name'])}"
        text = json.dumps(known)
        row = connection.execute("SELECT json_schema FROM tool WHERE id = ?", (tool_id,)).fetchone()
        if row is None or row["json_schema"] != text:
            _store(connection, tool_id, known["name"], _MEMORY_TYPE, None, text, [], _RETURN_CHARS)
        ids.append(tool_id)
    return ids


def attach(connection: sqlite3.Connection, agent_id: str, tool_ids: Iterable[str]) -> None:
    """Gives the tools to the agent; twice is fine. Raises a 404 for an unknown tool."""
    for tool_id in tool_ids:
        get(connection, tool_id)
        connection.execute("INSERT OR IGNORE INTO agent_tool (agent_id, tool_id) VALUES (?, ?)", (agent_id, tool_id))


def upsert(connection: sqlite3.Connection, tool: NewTool) -> dict[str, Any]:
    """Stores the tool under its function's name, in place of an earlier one of that name."""
    given = tool.json_schema
    described = schema.read_schema(tool.source_code) if given is None else given
    name = described.get("name")
    if not isinstance(name, str) or not isinstance(described.get("parameters", {}), dict):
        raise Refused(400, "json_schema needs a `name` and an object of `parameters`.")
    if name in memory_tools.NAMES:
        raise Refused(409, f"{name} is one of Letta's own tools and cannot be replaced.")
    if given is not None:
        schema.check_function(tool.source_code, name)
    full: dict[str, Any] = {"parameters": {"type": "object", "properties": {}}, **described}
    full["description"] = tool.description or described.get("description") or name
    row = connection.execute("SELECT id FROM tool WHERE name = ?", (name,)).fetchone()
    tool_id = row["id"] if row else new_id("tool")
    _store(
        connection, tool_id, name, "custom", tool.source_code, json.dumps(full), tool.tags or [], tool.return_char_limit
    )
    return wire(get(connection, tool_id))


def _store(
    connection: sqlite3.Connection,
    id: str,
    name: str,
    kind: str,
    source: str | None,
    text: str,
    tags: list[str],
    return_chars: int,
) -> None:
    moment = now()
    digest = hashlib.sha256((source or text).encode()).hexdigest()
    connection.execute(
        "INSERT INTO tool (id, name, tool_type, description, source_code, json_schema, tags, return_char_limit,"
        " metadata, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET description = excluded.description, source_code = excluded.source_code,"
        " json_schema = excluded.json_schema, tags = excluded.tags, return_char_limit = excluded.return_char_limit,"
        " metadata = excluded.metadata, updated_at = excluded.updated_at",
        (
            id,
            name,
            kind,
            json.loads(text)["description"],
            source,
            text,
            json.dumps(tags),
            return_chars,
            json.dumps({"tool_hash": digest}),
            moment,
            moment,
        ),
    )


def routes(services: Services) -> APIRouter:
    """`/v1/tools/`: upsert, list, retrieve, delete."""
    router, database = APIRouter(prefix="/v1/tools"), services.database

    @router.put("/")
    async def upsert_tool(tool: NewTool) -> Response:
        if services.run_tool is None:
            raise Refused(403, _NO_SOURCE)
        return JSONResponse(await database.write(lambda c: upsert(c, tool)))

    @router.get("/")
    async def list_tools(
        page: Paged,
        name: str | None = None,
        names: Annotated[list[str] | None, Query()] = None,
        tool_ids: Annotated[list[str] | None, Query()] = None,
        search: str | None = None,
    ) -> Response:
        query, values = "SELECT t.* FROM tool t WHERE 1", list[Any]()
        if search:
            query += " AND instr(lower(t.name), lower(?))"
            values.append(search)
        wanted_names = [*(names or []), *([name] if name else [])]
        if wanted_names:
            query += " AND t.name IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(wanted_names))
        if tool_ids:
            query += " AND t.id IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(tool_ids))

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            base_tools(connection)
            return paging.select(connection, query, values, page, table="tool", order="asc")

        return JSONResponse([wire(row) for row in await database.write(work)])

    @router.get("/{tool_id}")
    async def retrieve_tool(tool_id: str) -> Response:
        return JSONResponse(wire(await database.read(lambda c: get(c, tool_id))))

    @router.delete("/{tool_id}")
    async def delete_tool(tool_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM tool WHERE id = ?", (get(connection, tool_id)["id"],))

        await database.write(work)
        return JSONResponse(None)

    return router
