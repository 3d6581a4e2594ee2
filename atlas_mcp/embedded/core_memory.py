"""An agent's core memory: the blocks it carries, addressed by label, attached and detached by id."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import agents, blocks, paging
from atlas_mcp.embedded.blocks import IfMatch
from atlas_mcp.embedded.bodies import BlockChange
from atlas_mcp.embedded.faults import Refused
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services


def by_label(connection: sqlite3.Connection, agent_id: str, label: str) -> sqlite3.Row:
    """The agent's block of that label. Raises a 404 for an unknown agent or label."""
    agents.get(connection, agent_id)
    for row in blocks.of_agent(connection, agent_id):
        if row["label"] == label:
            return row
    raise Refused(404, f"No block with label '{label}' found for agent '{agent_id}'")


def routes(services: Services) -> APIRouter:
    """`/v1/agents/{agent_id}/core-memory/blocks`: an agent's blocks, by label."""
    router, database = APIRouter(prefix="/v1/agents/{agent_id}/core-memory/blocks"), services.database

    @router.get("")
    async def list_agent_blocks(agent_id: str, page: Paged) -> Response:
        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            agents.get(connection, agent_id)
            return blocks.of_agent(connection, agent_id)

        return JSONResponse(paging.cut([blocks.wire(row) for row in await database.read(work)], page))

    @router.get("/{label}")
    async def retrieve_agent_block(agent_id: str, label: str) -> Response:
        return JSONResponse(blocks.wire(await database.read(lambda c: by_label(c, agent_id, label))))

    @router.patch("/{label}")
    async def update_agent_block(agent_id: str, label: str, wanted: BlockChange, expected: IfMatch = None) -> Response:
        return JSONResponse(
            await database.write(lambda c: blocks.change(c, by_label(c, agent_id, label), wanted, expected))
        )

    @router.patch("/attach/{block_id}")
    async def attach_block(agent_id: str, block_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            agents.get(connection, agent_id)
            blocks.attach(connection, agent_id, block_id)
            return agents.touch(connection, agent_id)

        return JSONResponse(await database.write(work))

    @router.patch("/detach/{block_id}")
    async def detach_block(agent_id: str, block_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            agents.get(connection, agent_id)
            blocks.get(connection, block_id)
            connection.execute("DELETE FROM agent_block WHERE agent_id = ? AND block_id = ?", (agent_id, block_id))
            return agents.touch(connection, agent_id)

        return JSONResponse(await database.write(work))

    return router


def sharing_routes(services: Services) -> APIRouter:
    """`/v1/blocks/{block_id}/agents`: who carries a block."""
    router, database = APIRouter(prefix="/v1/blocks/{block_id}/agents"), services.database
    query = "SELECT t.* FROM agent t JOIN agent_block l ON l.agent_id = t.id WHERE l.block_id = ?"

    @router.get("")
    async def list_agents_of_block(block_id: str, page: Paged) -> Response:
        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            blocks.get(connection, block_id)
            rows = paging.select(connection, query, (block_id,), page, table="agent", order="desc")
            return [agents.wire(connection, row) for row in rows]

        return JSONResponse(await database.read(work))

    return router
