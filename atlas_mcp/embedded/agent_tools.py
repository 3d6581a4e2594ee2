"""The tools of one agent: list, attach, detach."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import agents, paging, tools
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services


def routes(services: Services) -> APIRouter:
    """`/v1/agents/{agent_id}/tools`. Attach and detach answer null, as Letta does."""
    router, database = APIRouter(prefix="/v1/agents/{agent_id}/tools"), services.database

    @router.get("")
    async def list_agent_tools(agent_id: str, page: Paged) -> Response:
        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            agents.get(connection, agent_id)
            return tools.of_agent(connection, agent_id)

        return JSONResponse(paging.cut([tools.wire(row) for row in await database.read(work)], page))

    @router.patch("/attach/{tool_id}")
    async def attach_tool(agent_id: str, tool_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            agents.get(connection, agent_id)
            tools.attach(connection, agent_id, [tool_id])

        await database.write(work)
        return JSONResponse(None)

    @router.patch("/detach/{tool_id}")
    async def detach_tool(agent_id: str, tool_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            agents.get(connection, agent_id)
            tools.get(connection, tool_id)
            connection.execute("DELETE FROM agent_tool WHERE agent_id = ? AND tool_id = ?", (agent_id, tool_id))

        await database.write(work)
        return JSONResponse(None)

    return router
