"""Agents: who they are, what they carry. Names may repeat, as in Letta; the id is what tells agents apart."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import blocks, paging, tools
from atlas_mcp.embedded.bodies import AgentChange, NewAgent
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import Refused, not_found
from atlas_mcp.embedded.models import llm_config
from atlas_mcp.embedded.paging import Paged
from atlas_mcp.embedded.prompt import DEFAULT_SYSTEM

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services


def get(connection: sqlite3.Connection, id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM agent WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise not_found("Agent", id)
    return row


def wire(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """An agent in Letta's shape, with its blocks, tools and tags."""
    agent_id = row["id"]
    carried = [blocks.wire(block) for block in blocks.of_agent(connection, agent_id)]
    tags = connection.execute("SELECT tag FROM agent_tag WHERE agent_id = ? ORDER BY tag", (agent_id,))
    return {
        "id": agent_id,
        "name": row["name"],
        "agent_type": row["agent_type"],
        "system": row["system"],
        "description": row["description"],
        "metadata": json.loads(row["metadata"]),
        "tags": [tag for (tag,) in tags],
        "model": row["model"],
        "llm_config": llm_config(row["model"], row["context_window"]),
        "embedding_config": None,
        "blocks": carried,
        "memory": {"blocks": carried, "file_blocks": [], "agent_type": row["agent_type"]},
        "tools": [tools.wire(tool) for tool in tools.of_agent(connection, agent_id)],
        "sources": [],
        "tool_rules": [],
        "message_ids": [],
        "identity_ids": [],
        "multi_agent_group": None,
        "managed_group": None,
        "enable_sleeptime": False,
        "message_buffer_autoclear": False,
        "context_window_limit": row["context_window"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "created_by_id": None,
        "last_updated_by_id": None,
    }


def touch(connection: sqlite3.Connection, id: str) -> dict[str, Any]:
    """Notes that the agent changed now, and gives it as it stands."""
    connection.execute("UPDATE agent SET updated_at = ? WHERE id = ?", (now(), id))
    return wire(connection, get(connection, id))


def create(connection: sqlite3.Connection, agent: NewAgent, model: str) -> dict[str, Any]:
    agent_id, moment = new_id("agent"), now()
    connection.execute(
        "INSERT INTO agent (id, name, system, description, agent_type, model, context_window, metadata, created_at,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            agent_id,
            agent.name or f"agent-{agent_id[-8:]}",
            DEFAULT_SYSTEM if agent.system is None else agent.system,
            agent.description,
            agent.agent_type,
            model,
            agent.context_window_limit,
            json.dumps(agent.metadata or {}),
            moment,
            moment,
        ),
    )
    _set_tags(connection, agent_id, agent.tags or [])
    for block in agent.memory_blocks or []:
        blocks.attach(connection, agent_id, blocks.create(connection, block))
    for block_id in agent.block_ids or []:
        blocks.attach(connection, agent_id, block_id)
    if agent.include_base_tools:
        tools.attach(connection, agent_id, tools.base_tools(connection))
    tools.attach(connection, agent_id, [tools.by_name(connection, name)["id"] for name in agent.tools or []])
    tools.attach(connection, agent_id, agent.tool_ids or [])
    return wire(connection, get(connection, agent_id))


def change(connection: sqlite3.Connection, id: str, wanted: AgentChange) -> dict[str, Any]:
    """Applies the sent fields; block and tool ids, where sent, replace what the agent had."""
    row = get(connection, id)
    sent = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    kept = {name: sent.get(name) if sent.get(name) is not None else row[name] for name in ("name", "system", "model")}
    connection.execute(
        "UPDATE agent SET name = ?, system = ?, model = ?, description = ?, context_window = ?, metadata = ?"
        " WHERE id = ?",
        (
            *kept.values(),
            sent.get("description", row["description"]),
            sent.get("context_window_limit", row["context_window"]),
            row["metadata"] if sent.get("metadata") is None else json.dumps(sent["metadata"]),
            id,
        ),
    )
    if sent.get("tags") is not None:
        _set_tags(connection, id, sent["tags"])
    if sent.get("block_ids") is not None:
        connection.execute("DELETE FROM agent_block WHERE agent_id = ?", (id,))
        for block_id in sent["block_ids"]:
            blocks.attach(connection, id, block_id)
    if sent.get("tool_ids") is not None:
        connection.execute("DELETE FROM agent_tool WHERE agent_id = ?", (id,))
        tools.attach(connection, id, sent["tool_ids"])
    return touch(connection, id)


def _set_tags(connection: sqlite3.Connection, id: str, tags: Iterable[str]) -> None:
    connection.execute("DELETE FROM agent_tag WHERE agent_id = ?", (id,))
    connection.executemany(
        "INSERT INTO agent_tag (agent_id, tag) VALUES (?, ?)", [(id, tag) for tag in sorted(set(tags))]
    )


def _selection(name: str | None, tags: list[str] | None, match_all: bool, text: str | None) -> tuple[str, list[Any]]:
    query, values = "SELECT t.* FROM agent t WHERE 1", list[Any]()
    if name is not None:
        query += " AND t.name = ?"
        values.append(name)
    if text:
        query += " AND instr(lower(t.name), lower(?))"
        values.append(text)
    wanted = sorted(set(tags or []))
    if wanted:
        query += (
            " AND (SELECT count(*) FROM agent_tag g WHERE g.agent_id = t.id"
            " AND g.tag IN (SELECT value FROM json_each(?))) >= ?"
        )
        values += [json.dumps(wanted), len(wanted) if match_all else 1]
    return query, values


def routes(services: Services) -> APIRouter:
    """`/v1/agents/`: create, list, retrieve, change and delete."""
    router, database = APIRouter(prefix="/v1/agents"), services.database

    @router.post("/")
    async def create_agent(agent: NewAgent) -> Response:
        model = services.known_model(agent.model)
        return JSONResponse(await database.write(lambda c: create(c, agent, model)))

    @router.get("/")
    async def list_agents(
        page: Paged,
        name: str | None = None,
        tags: Annotated[list[str] | None, Query()] = None,
        match_all_tags: bool = False,
        query_text: str | None = None,
    ) -> Response:
        query, values = _selection(name, tags, match_all_tags, query_text)

        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = paging.select(connection, query, values, page, table="agent", order="desc")
            return [wire(connection, row) for row in rows]

        return JSONResponse(await database.read(work))

    @router.get("/{agent_id}")
    async def retrieve_agent(agent_id: str) -> Response:
        return JSONResponse(await database.read(lambda c: wire(c, get(c, agent_id))))

    @router.patch("/{agent_id}")
    async def update_agent(agent_id: str, wanted: AgentChange) -> Response:
        if wanted.model is not None:
            services.known_model(wanted.model)
        return JSONResponse(await database.write(lambda c: change(c, agent_id, wanted)))

    @router.delete("/{agent_id}")
    async def delete_agent(agent_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            if not connection.execute("DELETE FROM agent WHERE id = ?", (agent_id,)).rowcount:
                raise Refused(404, f"Agent not found with id='{agent_id}'")

        await database.write(work)
        return JSONResponse({"message": f"Agent id={agent_id} successfully deleted"})

    return router
