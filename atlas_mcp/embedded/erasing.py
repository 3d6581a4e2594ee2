"""Taking a text out of what was said to agents, in the file itself: Letta's API has no way to change a message.

Who calls says what to look for by `mend`, which gives a value without the text, or the very same object if the text is
not in it; with its second argument the text is known to be beside it. A message that is changed after the last summary
gets a new number together with all that follow it, since other processes know messages by their numbers. A thread is
changed in one transaction, while nobody has a turn in it: who calls holds its lock.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    Mend = Callable[[Any, bool], Any]

_BUSY_SECONDS = 10.0
_SPOKEN = ("content", "body")
_ELSEWHERE = (
    ("paused", "thread_id", ("calls", "changes")),
    ("summary", "thread_id", ("text",)),
    ("conversation", "id", ("summary", "description")),
)


def lock_of(thread_id: str) -> str:
    """The lock that a turn holds on its thread."""
    return f"letta-{thread_id}"


def threads_with(path: Path, agents: Sequence[str], mend: Mend) -> dict[str, int]:
    """The threads of these agents that hold the text, each with how many messages and notes do."""
    found: dict[str, int] = {}
    with _opened(path) as connection:
        for thread_id in _threads(connection, agents):
            changed = sum(bool(_changes(row, _SPOKEN, mend, beside=False)) for row in _messages(connection, thread_id))
            changed += sum(1 for _ in _rest(connection, thread_id, mend))
            if changed:
                found[thread_id] = changed
    return found


def erase(path: Path, thread_id: str, mend: Mend) -> None:
    """Take the text out of the thread. Under the thread's lock."""
    with _opened(path) as connection, _transaction(connection):
        rest = list(_rest(connection, thread_id, mend))
        _erase_messages(connection, thread_id, mend)
        for table, rowid, changes in rest:
            _update(connection, table, "rowid", rowid, changes)


def erase_runs(path: Path, agents: Sequence[str], mend: Mend) -> None:
    """Take the text out of what runs of these agents failed with."""
    with _opened(path) as connection, _transaction(connection):
        for agent in agents:
            rows = connection.execute("SELECT seq, error FROM run WHERE agent_id = ? AND error IS NOT NULL", (agent,))
            for row in rows.fetchall():
                if changes := _changes(row, ("error",), mend, beside=False):
                    _update(connection, "run", "seq", row["seq"], changes)


def _erase_messages(connection: sqlite3.Connection, thread_id: str, mend: Mend) -> None:
    rows = _messages(connection, thread_id)
    turns = {row["turn_id"] for row in rows if _changes(row, _SPOKEN, mend, beside=False)}
    changed = {
        row["seq"]: changes
        for row in rows
        if row["turn_id"] in turns and (changes := _changes(row, _SPOKEN, mend, beside=True))
    }
    query = "SELECT coalesce(max(upto), 0) FROM summary WHERE thread_id = ?"
    upto = connection.execute(query, (thread_id,)).fetchone()[0]
    for seq in (seq for seq in changed if seq <= upto):
        _update(connection, "message", "seq", seq, changed[seq])
    later = [seq for seq in changed if seq > upto]
    if not later:
        return
    moved = [dict(row) | changed.get(row["seq"], {}) for row in rows if row["seq"] >= min(later)]
    connection.execute("DELETE FROM message WHERE thread_id = ? AND seq >= ?", (thread_id, min(later)))
    names = [name for name in moved[0] if name != "seq"]
    connection.executemany(
        f"INSERT INTO message ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",  # noqa: S608 - our own
        [[row[name] for name in names] for row in moved],
    )


def _rest(connection: sqlite3.Connection, thread_id: str, mend: Mend) -> Generator[tuple[str, int, dict[str, Any]]]:
    """What else is kept of the thread and holds the text: table, row, and the columns as they are to be."""
    for table, key, columns in _ELSEWHERE:
        query = f"SELECT rowid AS row, {', '.join(columns)} FROM {table} WHERE {key} = ?"  # noqa: S608 - our own names
        for row in connection.execute(query, (thread_id,)).fetchall():
            if changes := _changes(row, columns, mend, beside=False):
                yield table, row["row"], changes


def _threads(connection: sqlite3.Connection, agents: Sequence[str]) -> list[str]:
    found: list[str] = []
    for agent in agents:
        query = (
            "SELECT DISTINCT thread_id FROM message WHERE agent_id = ?1"
            " UNION SELECT id FROM conversation WHERE agent_id = ?1"
        )
        found += [row[0] for row in connection.execute(query, (agent,))]
    return found


def _messages(connection: sqlite3.Connection, thread_id: str) -> list[sqlite3.Row]:
    return connection.execute("SELECT * FROM message WHERE thread_id = ? ORDER BY seq", (thread_id,)).fetchall()


def _changes(row: sqlite3.Row, columns: Sequence[str], mend: Mend, *, beside: bool) -> dict[str, Any]:
    made = {name: (row[name], mend(row[name], beside)) for name in columns}
    return {name: new for name, (old, new) in made.items() if new is not old}


def _update(connection: sqlite3.Connection, table: str, key: str, value: Any, changes: dict[str, Any]) -> None:
    names = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE {table} SET {names} WHERE {key} = ?", (*changes.values(), value))  # noqa: S608 - our own


@contextmanager
def _opened(path: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        for pragma in ("foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
