"""Conversations: threads with an agent that have a context of their own and share its memory."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import agents, paging, threads
from atlas_mcp.embedded.bodies import ConversationChange, NewConversation
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import not_found
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services


def get(connection: sqlite3.Connection, id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM conversation WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise not_found("Conversation", id)
    return row


def wire(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "agent_id": row["agent_id"],
        "summary": row["summary"],
        "description": row["description"],
        "archived": bool(row["archived"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "last_message_at": row["last_message_at"],
        "in_context_message_ids": None,
        "model": None,
        "model_settings": None,
    }


def routes(services: Services) -> APIRouter:
    """`/v1/conversations/`: create, list, retrieve, change, delete."""
    router, database = APIRouter(prefix="/v1/conversations"), services.database

    @router.post("/")
    async def create_conversation(agent_id: str, conversation: NewConversation | None = None) -> Response:
        given = conversation or NewConversation()

        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            agents.get(connection, agent_id)
            new, moment = new_id("conv"), now()
            connection.execute(
                "INSERT INTO conversation (id, agent_id, summary, description, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (new, agent_id, given.summary, given.description, moment, moment),
            )
            return wire(get(connection, new))

        return JSONResponse(await database.write(work))

    @router.get("/")
    async def list_conversations(
        page: Paged,
        agent_id: str | None = None,
        archive_status: Literal["unarchived", "archived", "all"] = "all",
        summary_search: str | None = None,
    ) -> Response:
        query, values = "SELECT t.* FROM conversation t WHERE 1", list[Any]()
        archived = None if archive_status == "all" else archive_status == "archived"
        conditions = (
            ("t.agent_id = ?", agent_id),
            ("t.archived = ?", archived),
            ("instr(lower(t.summary), lower(?))", summary_search),
        )
        for condition, value in conditions:
            if value is not None:
                query += f" AND {condition}"
                values.append(value)
        rows = await database.read(lambda c: paging.select(c, query, values, page, table="conversation", order="desc"))
        return JSONResponse([wire(row) for row in rows])

    @router.get("/{conversation_id}")
    async def retrieve_conversation(conversation_id: str) -> Response:
        return JSONResponse(wire(await database.read(lambda c: get(c, conversation_id))))

    @router.patch("/{conversation_id}")
    async def update_conversation(conversation_id: str, wanted: ConversationChange) -> Response:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            row = get(connection, conversation_id)
            sent = {name: getattr(wanted, name) for name in wanted.model_fields_set}
            connection.execute(
                "UPDATE conversation SET summary = ?, description = ?, archived = ?, updated_at = ? WHERE id = ?",
                (
                    sent.get("summary", row["summary"]),
                    sent.get("description", row["description"]),
                    bool(sent.get("archived", row["archived"])),
                    now(),
                    conversation_id,
                ),
            )
            return wire(get(connection, conversation_id))

        return JSONResponse(await database.write(work))

    @router.delete("/{conversation_id}")
    async def delete_conversation(conversation_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            get(connection, conversation_id)
            threads.clear(connection, conversation_id)
            connection.execute("DELETE FROM conversation WHERE id = ?", (conversation_id,))

        async with services.alone_in(conversation_id):
            await database.write(work)
        return JSONResponse({"message": f"Conversation id={conversation_id} successfully deleted"})

    return router
