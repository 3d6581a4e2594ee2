"""Memory blocks: labelled texts of limited size, which agents carry in their prompt and may share.

A value over its block's limit is never stored. Every change of what a block holds or may hold counts its `version` up;
a change that names the version it was made from (`If-Match: <version>`) is a 409 when that is no longer the newest.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import paging
from atlas_mcp.embedded.bodies import BlockChange, NewBlock
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import Refused
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services

DEFAULT_LIMIT = 100_000
IfMatch = Annotated[str | None, Header(alias="If-Match")]


def over_limit(length: int, limit: int) -> str:
    """The sentence that says how long a value was and how long it may be."""
    return f"Value length ({length} characters) exceeds block limit ({limit} characters)"


def wire(row: sqlite3.Row) -> dict[str, Any]:
    """A block in Letta's shape; `version` and `updated_at` are additions."""
    return {
        "id": row["id"],
        "label": row["label"],
        "value": row["value"],
        "limit": row["size_limit"],
        "description": row["description"],
        "read_only": bool(row["read_only"]),
        "hidden": None if row["hidden"] is None else bool(row["hidden"]),
        "metadata": json.loads(row["metadata"]),
        "tags": json.loads(row["tags"]),
        "project_id": None,
        "template_name": None,
        "is_template": False,
        "template_id": None,
        "base_template_id": None,
        "deployment_id": None,
        "entity_id": None,
        "preserve_on_migration": False,
        "created_by_id": None,
        "last_updated_by_id": None,
        "version": row["version"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def create(connection: sqlite3.Connection, block: NewBlock) -> str:
    """Stores a block and gives its id. Raises a 400 for a value over its limit."""
    limit = block.limit or DEFAULT_LIMIT
    _check_length(block.value, limit)
    block_id, moment = new_id("block"), now()
    connection.execute(
        "INSERT INTO block (id, label, value, size_limit, description, read_only, hidden, metadata, tags, created_at,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            block_id,
            block.label,
            block.value,
            limit,
            block.description,
            block.read_only,
            block.hidden,
            json.dumps(block.metadata or {}),
            json.dumps(block.tags or []),
            moment,
            moment,
        ),
    )
    return block_id


def get(connection: sqlite3.Connection, id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM block WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise Refused(404, f"Block with id '{id}' not found")
    return row


def of_agent(connection: sqlite3.Connection, agent_id: str) -> list[sqlite3.Row]:
    """The agent's blocks in the order they were attached."""
    return connection.execute(
        "SELECT b.* FROM agent_block l JOIN block b ON b.id = l.block_id WHERE l.agent_id = ? ORDER BY l.seq",
        (agent_id,),
    ).fetchall()


def change(
    connection: sqlite3.Connection, row: sqlite3.Row, wanted: BlockChange, expected: str | None
) -> dict[str, Any]:
    """Applies the sent fields. Raises a 400 over the limit, a 409 for a stale `expected` version or a label in use."""
    if expected is not None and expected.strip(' "') != str(row["version"]):
        raise Refused(
            409, f"CONFLICT: block '{row['id']}' has version {row['version']}, not {expected}: read it again."
        )
    sent = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    value = row["value"] if sent.get("value") is None else sent["value"]
    limit = sent.get("limit") or row["size_limit"]
    if "value" in sent or "limit" in sent:
        _check_length(value, limit)
    read_only = bool(row["read_only"]) if sent.get("read_only") is None else sent["read_only"]
    label = sent.get("label") or row["label"]
    if label != row["label"]:
        _check_label(connection, row["id"], label)
    connection.execute(
        "UPDATE block SET label = ?, value = ?, size_limit = ?, description = ?, read_only = ?, hidden = ?,"
        " metadata = ?, tags = ?, version = version + ?, updated_at = ? WHERE id = ?",
        (
            label,
            value,
            limit,
            sent.get("description", row["description"]),
            read_only,
            sent.get("hidden", row["hidden"]),
            row["metadata"] if sent.get("metadata") is None else json.dumps(sent["metadata"]),
            row["tags"] if sent.get("tags") is None else json.dumps(sent["tags"]),
            (value, limit, read_only) != (row["value"], row["size_limit"], bool(row["read_only"])),
            now(),
            row["id"],
        ),
    )
    return wire(get(connection, row["id"]))


def attach(connection: sqlite3.Connection, agent_id: str, block_id: str) -> None:
    """Gives the block to the agent; twice is fine. Raises a 409 when the agent has another block of that label."""
    label = get(connection, block_id)["label"]
    for row in of_agent(connection, agent_id):
        if row["id"] == block_id:
            return
        if row["label"] == label:
            raise Refused(409, f"CONFLICT: agent '{agent_id}' already has a block with the label '{label}'")
    connection.execute("INSERT INTO agent_block (agent_id, block_id) VALUES (?, ?)", (agent_id, block_id))


def _check_length(value: str, limit: int) -> None:
    if len(value) > limit:
        raise Refused(400, f"INVALID_ARGUMENT: {over_limit(len(value), limit)}")


def _check_label(connection: sqlite3.Connection, block_id: str, label: str) -> None:
    taken = connection.execute(
        "SELECT 1 FROM agent_block mine JOIN agent_block other ON other.agent_id = mine.agent_id"
        " JOIN block b ON b.id = other.block_id WHERE mine.block_id = ? AND b.id != ? AND b.label = ?",
        (block_id, block_id, label),
    ).fetchone()
    if taken:
        raise Refused(409, f"CONFLICT: an agent of this block already has a block with the label '{label}'")


def routes(services: Services) -> APIRouter:
    """`/v1/blocks/`: the blocks themselves."""
    router, database = APIRouter(prefix="/v1/blocks"), services.database

    @router.post("/")
    async def create_block(block: NewBlock) -> Response:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            return wire(get(connection, create(connection, block)))

        return JSONResponse(await database.write(work))

    @router.get("/")
    async def list_blocks(
        page: Paged,
        label: str | None = None,
        label_search: str | None = None,
        value_search: str | None = None,
        tags: Annotated[list[str] | None, Query()] = None,
    ) -> Response:
        query, values = "SELECT t.* FROM block t WHERE 1", list[Any]()
        for condition, value in (
            ("t.label = ?", label),
            ("instr(t.label, ?)", label_search),
            ("instr(t.value, ?)", value_search),
        ):
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        if tags:
            query += " AND EXISTS (SELECT 1 FROM json_each(t.tags) WHERE value IN (SELECT value FROM json_each(?)))"
            values.append(json.dumps(tags))
        rows = await database.read(lambda c: paging.select(c, query, values, page, table="block", order="asc"))
        return JSONResponse([wire(row) for row in rows])

    @router.get("/{block_id}")
    async def retrieve_block(block_id: str) -> Response:
        return JSONResponse(wire(await database.read(lambda c: get(c, block_id))))

    @router.patch("/{block_id}")
    async def update_block(block_id: str, wanted: BlockChange, expected: IfMatch = None) -> Response:
        return JSONResponse(await database.write(lambda c: change(c, get(c, block_id), wanted, expected)))

    @router.delete("/{block_id}")
    async def delete_block(block_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM block WHERE id = ?", (get(connection, block_id)["id"],))

        await database.write(work)
        return JSONResponse(None)

    return router
