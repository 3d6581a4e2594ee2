"""A thread in the file: what a turn begins from, and how it is written down at its end.

A thread is a conversation or an agent's own messages. Its messages are whole turns, and at its end at most one paused
turn, whose messages are marked `pending` until it is done; cancelling it takes them away again.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlas_mcp.embedded import agents, blocks, entries, memory, tools
from atlas_mcp.embedded.asks import Ask
from atlas_mcp.embedded.database import now
from atlas_mcp.embedded.entries import Entry
from atlas_mcp.embedded.faults import Refused, not_found
from atlas_mcp.embedded.recent import Past, Recent

if TYPE_CHECKING:
    from atlas_mcp.embedded.usage import Usage

_PENDING = "PENDING_APPROVAL"


@dataclass(frozen=True)
class Opening:
    """What a turn begins from."""

    agent: sqlite3.Row
    blocks: list[sqlite3.Row]
    tools: list[sqlite3.Row]
    past: Past
    summary: str
    upto: int
    earlier: int
    archived: int
    paused: sqlite3.Row | None


@dataclass(frozen=True)
class Replay:
    """The stored answer of a message that was taken before."""

    run_id: str
    messages: list[Entry]
    stop_reason: str
    usages: list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What a turn made, to be written in one go. `calls` wait for the caller: where there are any, the turn pauses."""

    turn_id: str
    made: list[Entry]
    memory: memory.WorkingMemory
    stop_reason: str
    usage: dict[str, Any]
    steps: list[dict[str, Any]]
    client_tools: tuple[str, ...]
    duration_ns: int = 0
    created_at: str = ""
    summary: tuple[int, str] | None = None
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def begin(connection: sqlite3.Connection, ask: Ask, recent: Recent) -> Opening | Replay:
    """Reads everything a turn needs, or finds that its message was taken before.

    Raises a 404 for an unknown agent or conversation, a 409 PENDING_APPROVAL for a new message to a paused thread, and
    a 400 for tool returns that nobody waits for.
    """
    _check_thread(connection, ask)
    agent = agents.get(connection, ask.agent_id)
    replay = _replay(connection, ask)
    if replay is not None:
        return replay
    paused = find_paused(connection, ask.thread_id)
    if ask.messages and paused is not None:
        raise _pending(paused)
    if ask.answers and paused is None:
        raise Refused(400, "INVALID_ARGUMENT: No tool call is waiting for an answer in this thread")
    text, upto = _summary(connection, ask.thread_id)
    count = "SELECT count(*) FROM message WHERE thread_id = ? AND seq <= ?"
    return Opening(
        agent=agent,
        blocks=blocks.of_agent(connection, ask.agent_id),
        tools=tools.of_agent(connection, ask.agent_id),
        past=recent.read(connection, ask.thread_id, upto),
        summary=text,
        upto=upto,
        earlier=connection.execute(count, (ask.thread_id, upto)).fetchone()[0] if upto else 0,
        archived=connection.execute("SELECT count(*) FROM passage WHERE agent_id = ?", (ask.agent_id,)).fetchone()[0],
        paused=paused,
    )


def find_paused(connection: sqlite3.Connection, thread_id: str) -> sqlite3.Row | None:
    return connection.execute("SELECT * FROM paused WHERE thread_id = ?", (thread_id,)).fetchone()


def finish(connection: sqlite3.Connection, ask: Ask, result: Result) -> None:
    """Writes a turn, or its part until it pauses. Raises a 404 or 409 when what it belongs to is gone."""
    thread, moment = ask.thread_id, now()
    pause = bool(result.calls)
    if ask.answers:  # only a turn that paused has left anything there
        connection.execute("DELETE FROM paused WHERE thread_id = ?", (thread,))
    if ask.answers and not pause:
        connection.execute("UPDATE message SET pending = 0 WHERE thread_id = ? AND pending", (thread,))
    try:
        entries.store(connection, result.made, thread, ask.agent_id, pending=pause)
    except sqlite3.IntegrityError:
        agents.get(connection, ask.agent_id)
        raise Refused(
            409, "CONFLICT: this message is being answered elsewhere: send it again to get its answer"
        ) from None
    if pause:
        _pause(connection, ask, result, moment)
    else:
        memory.commit(connection, ask.agent_id, result.memory)
    if result.summary is not None:
        row = (thread, ask.agent_id, *result.summary, moment)
        connection.execute(
            "INSERT OR REPLACE INTO summary (thread_id, agent_id, upto, text, created_at) VALUES (?, ?, ?, ?, ?)", row
        )
    if ask.conversation_id is not None:
        _check_thread(connection, ask)
        connection.execute("UPDATE conversation SET last_message_at = ? WHERE id = ?", (moment, thread))
    write_run(connection, ask, "completed", result)


def write_run(
    connection: sqlite3.Connection,
    ask: Ask,
    status: str,
    result: Result | None = None,
    *,
    error: dict[str, Any] | None = None,
    stop_reason: str | None = None,
    created_at: str | None = None,
    used: Usage | None = None,
) -> None:
    """Notes how a run ended, and of one without a result what its models took; nothing when its agent is gone."""
    done = status in {"completed", "failed", "cancelled"}
    connection.execute(
        "INSERT INTO run (id, agent_id, conversation_id, turn_id, status, stop_reason, background, usage, steps, error,"
        " created_at, completed_at, duration_ns) SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM agent WHERE id = ?"
        " ON CONFLICT (id) DO UPDATE SET status = excluded.status, stop_reason = excluded.stop_reason,"
        " turn_id = excluded.turn_id, usage = excluded.usage, steps = excluded.steps, error = excluded.error,"
        " completed_at = excluded.completed_at, duration_ns = excluded.duration_ns, alive_until = NULL",
        (
            ask.run_id,
            ask.conversation_id,
            result.turn_id if result else ask.turn_id,
            status,
            result.stop_reason if result else stop_reason,
            ask.background,
            json.dumps(result.usage if result else used.stored() if used else {}),
            json.dumps(result.steps if result else []),
            json.dumps(error) if error else None,
            result.created_at if result else created_at or now(),
            now() if done else None,
            result.duration_ns if result else None,
            ask.agent_id,
        ),
    )


def forget_paused(connection: sqlite3.Connection, thread_id: str) -> str | None:
    """Takes a paused turn away, with its messages and memory changes. Gives the run that paused, if there was one."""
    paused = find_paused(connection, thread_id)
    if paused is None:
        return None
    connection.execute("DELETE FROM message WHERE thread_id = ? AND pending", (thread_id,))
    connection.execute("DELETE FROM paused WHERE thread_id = ?", (thread_id,))
    connection.execute(
        "UPDATE run SET status = 'cancelled', stop_reason = 'cancelled' WHERE turn_id = ?", (paused["turn_id"],)
    )
    return paused["run_id"]


def clear(connection: sqlite3.Connection, thread_id: str) -> None:
    """Forgets every message of the thread."""
    for table in ("message", "paused", "summary"):
        connection.execute(f"DELETE FROM {table} WHERE thread_id = ?", (thread_id,))  # noqa: S608


def _check_thread(connection: sqlite3.Connection, ask: Ask) -> None:
    if ask.conversation_id is None:
        return
    row = connection.execute("SELECT agent_id FROM conversation WHERE id = ?", (ask.conversation_id,)).fetchone()
    if row is None:
        raise not_found("Conversation", ask.conversation_id)


def _replay(connection: sqlite3.Connection, ask: Ask) -> Replay | None:
    if not ask.otids:
        return None
    row = connection.execute(
        "SELECT kind, turn_id, run_id FROM message"
        " WHERE thread_id = ? AND otid IN (SELECT value FROM json_each(?)) LIMIT 1",
        (ask.thread_id, json.dumps(ask.otids)),
    ).fetchone()
    if row is None:
        return None
    # a user's message is answered by its whole turn, tool returns by the part of the turn that they began
    column, one = ("run_id", row["run_id"]) if row["kind"] == "tool" else ("turn_id", row["turn_id"])
    rows = connection.execute(
        f"SELECT * FROM message WHERE thread_id = ? AND {column} = ? AND kind NOT IN ('user', 'system') ORDER BY seq",  # noqa: S608
        (ask.thread_id, one),
    )
    ids = "id" if column == "run_id" else "turn_id"
    query = f"SELECT stop_reason, usage FROM run WHERE {ids} = ? AND status = 'completed' ORDER BY seq"  # noqa: S608
    runs = connection.execute(query, (one,)).fetchall()
    reason = next((run["stop_reason"] for run in reversed(runs) if run["stop_reason"]), "end_turn")
    usages = [json.loads(run["usage"]) for run in runs]
    return Replay(row["run_id"], [entries.load(entry) for entry in rows], reason, [one for one in usages if one])


def _summary(connection: sqlite3.Connection, thread_id: str) -> tuple[str, int]:
    query = "SELECT text, upto FROM summary WHERE thread_id = ? ORDER BY upto DESC LIMIT 1"
    row = connection.execute(query, (thread_id,)).fetchone()
    return (row["text"], row["upto"]) if row else ("", 0)


def _pause(connection: sqlite3.Connection, ask: Ask, result: Result, moment: str) -> None:
    connection.execute(
        "INSERT INTO paused (thread_id, turn_id, agent_id, run_id, request_id, calls, client_tools, changes,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ask.thread_id,
            result.turn_id,
            ask.agent_id,
            ask.run_id,
            next(entry.id for entry in reversed(result.made) if entry.client_calls),
            json.dumps(result.calls),
            json.dumps(result.client_tools),
            memory.dump(result.memory),
            moment,
        ),
    )


def _pending(paused: sqlite3.Row) -> Refused:
    names = ", ".join(call["name"] for call in json.loads(paused["calls"]))
    message = (
        f"{_PENDING}: the thread waits for the caller's answer to its tool calls ({names}). Send their tool returns, or"
        " cancel the run to take the turn away."
    )
    detail = {
        "code": _PENDING,
        "message": message,
        "pending_request_id": paused["request_id"],
        "run_id": paused["run_id"],
    }
    return Refused(409, detail)
