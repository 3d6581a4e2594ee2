"""Messages as they are kept: one entry is one message of the model's context, and one to three of Letta's messages.

What an assistant said in one step (reasoning, text, tool calls) is one entry; Letta's API shows its parts as messages
of the same id that differ in `message_type`, and so does `wire`.
"""

from __future__ import annotations

import json
import sqlite3
from operator import attrgetter
from typing import Any, Literal, NamedTuple

Kind = Literal["user", "system", "assistant", "tool"]


class Entry(NamedTuple):
    """One message. `body` holds what its kind needs: tool calls, a tool's status, the sender's name."""

    id: str
    kind: Kind
    content: str
    body: dict[str, Any]
    turn_id: str
    run_id: str
    created_at: str
    step_id: str | None = None
    otid: str | None = None
    seq: int = 0

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tool calls of an assistant's entry: id, name and args."""
        return self.body.get("calls", [])

    @property
    def client_calls(self) -> list[dict[str, Any]]:
        """Those calls that the caller, not this server, executes."""
        return [call for call in self.calls if call.get("client")]


_FIELDS = ", ".join(Entry._fields)
_BODY = Entry._fields.index("body")


def load(row: sqlite3.Row) -> Entry:
    return _entry([row[field] for field in Entry._fields])


def of_thread(connection: sqlite3.Connection, thread_id: str, after: int) -> list[Entry]:
    """The thread's entries beyond the seq `after`, oldest first."""
    # In one row: sqlite3 lets go of the interpreter at each row, and a busy event loop is slow to give it back.
    query = f"SELECT json_group_array(json_array({_FIELDS})) FROM message WHERE thread_id = ? AND seq > ?"  # noqa: S608
    rows: list[list[Any]] = json.loads(connection.execute(query, (thread_id, after)).fetchone()[0])
    return sorted(map(_entry, rows), key=attrgetter("seq"))


def _entry(values: list[Any]) -> Entry:
    values[_BODY] = json.loads(values[_BODY]) if values[_BODY] != "{}" else {}
    return Entry(*values)


def store(
    connection: sqlite3.Connection, entries: list[Entry], thread_id: str, agent_id: str, *, pending: bool
) -> None:
    connection.executemany(
        "INSERT INTO message (id, thread_id, agent_id, turn_id, run_id, step_id, kind, otid, content, body, pending,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                entry.id,
                thread_id,
                agent_id,
                entry.turn_id,
                entry.run_id,
                entry.step_id,
                entry.kind,
                entry.otid,
                entry.content,
                json.dumps(entry.body),
                pending,
                entry.created_at,
            )
            for entry in entries
        ],
    )


def wire(entry: Entry) -> list[dict[str, Any]]:
    """The entry as Letta's messages."""
    if entry.kind == "user":
        return [base(entry, "user_message") | {"content": entry.content}]
    if entry.kind == "system":
        return [base(entry, "system_message") | {"content": entry.content}]
    return [_tool_return(entry)] if entry.kind == "tool" else _assistant(entry)


def base(entry: Entry, message_type: str, index: int = 0) -> dict[str, Any]:
    """The fields that every message has. A message without an otid of its own gets one that follows from its id."""
    return {
        "id": entry.id,
        "date": entry.created_at,
        "name": entry.body.get("name"),
        "message_type": message_type,
        "otid": entry.otid or f"{entry.id[8:-2]}{index:02x}",
        "sender_id": entry.body.get("sender_id"),
        "step_id": entry.step_id,
        "is_err": None,
        "seq_id": None,
        "run_id": entry.run_id,
    }


def reasoning(entry: Entry, text: str) -> dict[str, Any]:
    return base(entry, "reasoning_message") | {"source": "reasoner_model", "reasoning": text, "signature": None}


def assistant(entry: Entry, text: str) -> dict[str, Any]:
    return base(entry, "assistant_message", 1) | {"content": text}


def calls(entry: Entry) -> list[dict[str, Any]]:
    """The calls of an assistant's entry: those of the server, then those that wait for the caller."""
    own = [_call(call) for call in entry.calls if not call.get("client")]
    asked = [_call(call) for call in entry.client_calls]
    messages: list[dict[str, Any]] = []
    if own:
        messages.append(base(entry, "tool_call_message", 2) | {"tool_call": own[0], "tool_calls": own})
    if asked:
        messages.append(base(entry, "approval_request_message", 3) | {"tool_call": asked[0], "tool_calls": asked})
    return messages


def _assistant(entry: Entry) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if entry.body.get("reasoning"):
        messages.append(reasoning(entry, entry.body["reasoning"]))
    if entry.content or not entry.calls:
        messages.append(assistant(entry, entry.content))
    return messages + calls(entry)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call.get("text") or json.dumps(call["args"], ensure_ascii=False)
    return {"name": call["name"], "arguments": arguments, "tool_call_id": call["id"]}


def _tool_return(entry: Entry) -> dict[str, Any]:
    result = {
        "tool_return": entry.content,
        "status": entry.body["status"],
        "tool_call_id": entry.body["call_id"],
        "stdout": None,
        "stderr": None,
    }
    return base(entry, "tool_return_message") | result | {"tool_returns": [{"type": "tool", **result}]}
