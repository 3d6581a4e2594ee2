"""Messages of an agent's own thread and of conversations: send, list, cancel, forget.

`/v1/agents/{agent_id}/messages` answers when the turn is done unless `streaming` is asked for;
`/v1/conversations/{conversation_id}/messages` streams unless it is refused, as in Letta.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.requests import Request
from starlette.routing import Route

from atlas_mcp.embedded import agents, asks, conversations, entries, paging, runs, threads
from atlas_mcp.embedded.bodies import CancelRuns, Send
from atlas_mcp.embedded.faults import Refused
from atlas_mcp.embedded.paging import Page, Paged
from atlas_mcp.embedded.streams import TurnResponse

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services

Types = Annotated[list[str] | None, Query()]


def list_messages(
    connection: sqlite3.Connection, thread_id: str, page: Page, default: Literal["asc", "desc"] | None = None
) -> list[dict[str, Any]]:
    """The thread's messages; without a cursor, an order and a default of it the newest ones, oldest of them first.

    `before` means older ones in either order, as in Letta. `after`, newest first, goes on to older ones, too: Letta
    gives newer ones there, by which no client ever comes to the end.
    """
    query = "SELECT t.* FROM message t WHERE t.thread_id = ?"
    wanted = page.order or default
    newest = wanted is None and page.after is None and page.before is None
    backwards = Page(page.limit, page.after or page.before, None, "desc")
    order = backwards if newest or wanted == "desc" else page
    rows = paging.select(connection, query, (thread_id,), order, table="message", order="asc", default_limit=100)
    return [
        message
        for row in (rows[::-1] if newest else rows)
        for message in _wire(row, order.order == "desc" and not newest)
    ]


def _wire(row: sqlite3.Row, backwards: bool) -> list[dict[str, Any]]:
    messages = entries.wire(entries.load(row))
    return messages[::-1] if backwards else messages


def _only(messages: list[dict[str, Any]], wanted: list[str] | None) -> list[dict[str, Any]]:
    return messages if wanted is None else [message for message in messages if message["message_type"] in wanted]


def _respond(services: Services, send: Send, agent_id: str, conversation_id: str | None, *, stream: bool) -> Response:
    ask = asks.read(send, agent_id, conversation_id)
    wanted = send.include_return_message_types
    return TurnResponse(services, ask, stream=stream, wanted=wanted, pings=send.include_pings)


def turn_routes(services: Services) -> list[Route]:
    """The requests for a turn in the foreground, without FastAPI's long way to the arguments."""

    async def send_message(request: Request) -> Response:
        send = await _sent(request)
        return _respond(services, send, request.path_params["agent_id"], None, stream=bool(send.streaming))

    async def stream_message(request: Request) -> Response:
        return _respond(services, await _sent(request), request.path_params["agent_id"], None, stream=True)

    async def send_to_conversation(request: Request) -> Response:
        send = await _sent(request)
        agent_id, own_id = await _thread_of(services, request.path_params["conversation_id"], send.agent_id, turn=True)
        return _respond(services, send, agent_id, own_id, stream=send.streaming is not False)

    return [
        Route("/v1/agents/{agent_id}/messages", send_message, methods=["POST"]),
        Route("/v1/agents/{agent_id}/messages/stream", stream_message, methods=["POST"]),
        Route("/v1/conversations/{conversation_id}/messages", send_to_conversation, methods=["POST"]),
    ]


async def _sent(request: Request) -> Send:
    try:
        return Send.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None


async def _thread_of(
    services: Services, conversation_id: str, agent_id: str | None, *, turn: bool = False
) -> tuple[str, str | None]:
    """The agent, and the conversation's id unless it is the agent's own thread. A turn looks itself if it is there."""
    if conversation_id.startswith("agent-"):
        return conversation_id, None
    if conversation_id == "default":
        if agent_id is None:
            raise Refused(422, "agent_id is required with the conversation 'default'")
        return agent_id, None
    owner = services.owners.get(conversation_id) if turn else None
    if owner is None:
        row = await services.database.read(lambda c: conversations.get(c, conversation_id))
        owner = services.note_owner(conversation_id, row["agent_id"])
    return owner, conversation_id


def agent_routes(services: Services) -> APIRouter:
    """`/v1/agents/{agent_id}/messages` and its relatives."""
    router, database = APIRouter(prefix="/v1/agents/{agent_id}"), services.database

    @router.post("/messages/async")
    async def send_message_in_background(agent_id: str, send: Send) -> Response:
        ask = asks.read(send, agent_id, None, background=True)
        return JSONResponse(await runs.start(services, ask))

    @router.post("/messages/cancel")
    async def cancel_messages(agent_id: str, cancel: CancelRuns | None = None) -> Response:
        ids = None if cancel is None else cancel.run_ids
        return JSONResponse(await runs.cancel(services, agent_id, agent_id, ids))

    @router.get("/messages")
    async def list_agent_messages(
        agent_id: str, page: Paged, conversation_id: str | None = None, include_return_message_types: Types = None
    ) -> Response:
        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            agents.get(connection, agent_id)
            return list_messages(connection, conversation_id or agent_id, page)

        return JSONResponse(_only(await database.read(work), include_return_message_types))

    @router.patch("/reset-messages")
    async def reset_messages(agent_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> dict[str, Any]:
            agents.get(connection, agent_id)
            threads.clear(connection, agent_id)
            return agents.touch(connection, agent_id)

        async with services.alone_in(agent_id):
            return JSONResponse(await database.write(work))

    return router


def conversation_routes(services: Services) -> APIRouter:
    """`/v1/conversations/{conversation_id}/messages` and `/cancel`; `default` and an agent's id mean its own thread."""
    router, database = APIRouter(prefix="/v1/conversations/{conversation_id}"), services.database

    @router.get("/messages")
    async def list_conversation_messages(
        conversation_id: str, page: Paged, agent_id: str | None = None, include_return_message_types: Types = None
    ) -> Response:
        owner, own_id = await _thread_of(services, conversation_id, agent_id)
        messages = await database.read(lambda c: list_messages(c, own_id or owner, page, "desc"))
        return JSONResponse(_only(messages, include_return_message_types))

    @router.post("/cancel")
    async def cancel_conversation(
        conversation_id: str, cancel: CancelRuns | None = None, agent_id: str | None = None
    ) -> Response:
        owner, own_id = await _thread_of(services, conversation_id, agent_id or (cancel.agent_id if cancel else None))
        return JSONResponse(await runs.cancel(services, owner, own_id or owner, None, only_thread=True))

    return router
