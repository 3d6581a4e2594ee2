"""Runs: one for each request for a turn. Those in the background are owned by the app's task group, never by a request.

A run in the background says every ten seconds that it is alive. One that has been silent for thirty was lost with its
process: it is shown, and from then on kept, as failed. Nothing of its turn was written.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import agents, entries, paging, threads
from atlas_mcp.embedded.database import now
from atlas_mcp.embedded.faults import Fault, Refused, not_found
from atlas_mcp.embedded.paging import Paged
from atlas_mcp.embedded.turns import take_turn
from atlas_mcp.embedded.usage import Usage

if TYPE_CHECKING:
    from atlas_mcp.embedded.asks import Ask
    from atlas_mcp.embedded.services import ActiveRun, Services

log = logging.getLogger(__name__)

_ALIVE_SECONDS = 30.0
_BEAT_SECONDS = 10.0
_LOST = {"detail": "The process that worked on this run ended before it was done."}


def wire(row: sqlite3.Row) -> dict[str, Any]:
    """A run in Letta's shape; why it failed stands in its metadata."""
    return {
        "id": row["id"],
        "agent_id": row["agent_id"],
        "conversation_id": row["conversation_id"],
        "status": row["status"],
        "stop_reason": row["stop_reason"],
        "background": bool(row["background"]),
        "metadata": {"error": json.loads(row["error"])} if row["error"] else None,
        "request_config": None,
        "created_at": row["created_at"],
        "completed_at": row["completed_at"],
        "total_duration_ns": row["duration_ns"],
        "ttft_ns": None,
        "base_template_id": None,
        "callback_url": None,
        "callback_sent_at": None,
        "callback_status_code": None,
        "callback_error": None,
    }


def _active(run: ActiveRun) -> dict[str, Any]:
    conversation = None if run.thread_id == run.agent_id else run.thread_id
    fields = dict.fromkeys(("stop_reason", "metadata", "request_config", "completed_at", "total_duration_ns"))
    status = "running" if run.started else "created"
    known = {"id": run.id, "agent_id": run.agent_id, "conversation_id": conversation, "background": run.background}
    return {**fields, **known, "status": status, "created_at": run.created_at}


def _running(services: Services, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns of this process that no row tells of before they are done, newest first."""
    going = [run for run in services.active.values() if not run.background and not run.scope.cancel_called]
    runs = [_active(run) for run in going]
    return [run for run in reversed(runs) if all(run[name] == value for name, value in asked.items())]


async def start(services: Services, ask: Ask) -> dict[str, Any]:
    """Begins a run in the background and gives it. Raises a 404 for an unknown agent, a 503 outside of `running`."""
    if services.background is None:
        raise Refused(
            503, "Runs in the background need the app's context: enter it with running(app), or by its lifespan"
        )

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        agents.get(connection, ask.agent_id)
        threads.write_run(connection, ask, "created")
        connection.execute("UPDATE run SET alive_until = ? WHERE id = ?", (time.time() + _ALIVE_SECONDS, ask.run_id))
        return wire(_get(connection, ask.run_id))

    created = await services.database.write(work)
    services.background.start_soon(_in_background, services, ask)
    return created


async def _in_background(services: Services, ask: Ask) -> None:
    async def beat() -> None:
        while True:
            try:
                await services.database.write(lambda c: _beat(c, ask.run_id))
            except Fault as fault:  # what ends a beat must not end the run, or whoever else the file is used by
                log.warning("The run %s could not say that it is alive: %s", ask.run_id, fault)
            await anyio.sleep(_BEAT_SECONDS)

    async def ignore(_: dict[str, Any]) -> None: ...

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        try:
            await take_turn(services, ask, ignore)
        except Fault:
            pass  # it stands in the run, where whoever started it looks
        except Exception:
            log.exception("The run %s failed", ask.run_id)
        tasks.cancel_scope.cancel()


def _beat(connection: sqlite3.Connection, id: str) -> None:
    connection.execute(
        "UPDATE run SET alive_until = ?, status = CASE WHEN status = 'created' THEN 'running' ELSE status END"
        " WHERE id = ? AND status IN ('created', 'running')",
        (time.time() + _ALIVE_SECONDS, id),
    )


async def cancel(
    services: Services, agent_id: str, thread_id: str, run_ids: list[str] | None, *, only_thread: bool = False
) -> dict[str, str]:
    """Cancels what runs now and what waits for its caller; gives `{run id: "cancelled"}`. Nothing of it is kept.

    An agent's cancel without ids means all its runs, and the turn that waits in its own thread. Raises a 409 when there
    is nothing to cancel; a run of another process can only be cancelled there.
    """
    await services.database.read(lambda c: agents.get(c, agent_id))
    done: dict[str, str] = {}
    for run in list(services.active.values()):
        mine = run.thread_id == thread_id if only_thread else run.agent_id == agent_id
        if mine and (run_ids is None or run.id in run_ids):
            run.scope.cancel()
            done[run.id] = "cancelled"
    for thread in await services.database.read(lambda c: _paused_threads(c, agent_id, thread_id, run_ids)):
        async with services.alone_in(thread):
            forgotten = await services.database.write(lambda c, thread=thread: threads.forget_paused(c, thread))
        if forgotten:
            done[forgotten] = "cancelled"
    if not done:
        raise Refused(409, f"CONFLICT: No active runs to cancel for agent {agent_id}")
    return done


def _paused_threads(
    connection: sqlite3.Connection, agent_id: str, thread_id: str, run_ids: list[str] | None
) -> list[str]:
    rows = connection.execute(
        "SELECT thread_id, turn_id, run_id FROM paused WHERE agent_id = ?", (agent_id,)
    ).fetchall()
    if run_ids is None:
        return [row["thread_id"] for row in rows if row["thread_id"] == thread_id]
    query = "SELECT turn_id FROM run WHERE id IN (SELECT value FROM json_each(?))"
    turns = {turn for (turn,) in connection.execute(query, (json.dumps(run_ids),))}
    return [row["thread_id"] for row in rows if row["turn_id"] in turns]


def _get(connection: sqlite3.Connection, id: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM run WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise not_found("Run", id)
    return row


def _bury(connection: sqlite3.Connection) -> None:
    """Marks runs as failed whose process has been silent for too long."""
    connection.execute(
        "UPDATE run SET status = 'failed', stop_reason = 'error', error = ?, completed_at = ?, alive_until = NULL"
        " WHERE status IN ('created', 'running') AND alive_until < ?",
        (json.dumps(_LOST), now(), time.time()),
    )


def routes(services: Services) -> APIRouter:
    """`/v1/runs/`: list, retrieve, and what a run used and said."""
    router, database = APIRouter(prefix="/v1/runs"), services.database

    @router.get("/")
    async def list_runs(
        page: Paged,
        agent_id: str | None = None,
        conversation_id: str | None = None,
        statuses: Annotated[list[str] | None, Query()] = None,
        background: bool | None = None,
        active: bool = False,
    ) -> Response:
        wanted = ["created", "running"] if active else statuses
        query, values = "SELECT t.* FROM run t WHERE 1", list[Any]()
        columns = (("agent_id", agent_id), ("conversation_id", conversation_id), ("background", background))
        for column, value in columns:
            if value is not None:
                query += f" AND t.{column} = ?"
                values.append(value)
        if wanted:
            query += " AND t.status IN (SELECT value FROM json_each(?))"
            values.append(json.dumps(wanted))

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            _bury(connection)
            return paging.select(connection, query, values, page, table="run", order="desc")

        kept = [wire(row) for row in await database.write(work)]
        asked = {"agent_id": agent_id, "conversation_id": conversation_id, "background": background}
        running = (
            [] if page.after or page.before else _running(services, {n: v for n, v in asked.items() if v is not None})
        )
        shown = [run for run in running if not wanted or run["status"] in wanted]
        return JSONResponse([*shown, *kept][: page.limit])

    @router.get("/{run_id}")
    async def retrieve_run(run_id: str) -> Response:
        running = services.active.get(run_id)
        if running is not None and not running.background:
            return JSONResponse(_active(running))

        def work(connection: sqlite3.Connection) -> sqlite3.Row:
            _bury(connection)
            return _get(connection, run_id)

        return JSONResponse(wire(await database.write(work)))

    @router.get("/{run_id}/usage")
    async def retrieve_usage(run_id: str) -> Response:
        row = await database.read(lambda c: _get(c, run_id))
        used = Usage(**json.loads(row["usage"]))
        return JSONResponse(used.wire() | {"prompt_tokens_details": None, "completion_tokens_details": None})

    @router.get("/{run_id}/messages")
    async def list_run_messages(run_id: str, page: Paged) -> Response:
        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            _get(connection, run_id)
            query = "SELECT t.* FROM message t WHERE t.run_id = ?"
            return paging.select(connection, query, (run_id,), page, table="message", order="asc", default_limit=100)

        rows = await database.read(work)
        return JSONResponse([message for row in rows for message in entries.wire(entries.load(row))])

    @router.get("/{run_id}/steps")
    async def list_steps(run_id: str, page: Paged) -> Response:
        row = await database.read(lambda c: _get(c, run_id))
        steps = [_step(row, step) for step in json.loads(row["steps"])]
        return JSONResponse(paging.cut(steps, page))

    return router


def _step(run: sqlite3.Row, step: dict[str, Any]) -> dict[str, Any]:
    used = Usage(**step["usage"]).wire()
    del used["message_type"], used["run_ids"], used["step_count"]
    handle = step.get("model", "")
    return {
        "id": step["id"],
        "run_id": run["id"],
        "agent_id": run["agent_id"],
        "model": handle.rpartition("/")[2],
        "model_handle": handle,
        "status": "success",
        "stop_reason": run["stop_reason"],
        "messages": [],
        "tags": [],
        **used,
    }
