"""The file's schema, as the steps that made it. `user_version` counts the steps done; a newer file is refused unharmed.

Steps are only ever added. Each runs in one transaction together with its count, so two processes that open one file at
the same moment, or one that is killed in between, leave it at a whole step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator


class NewerDatabase(RuntimeError):
    """Raised when the file was written by a newer version of this program; it is left as it is."""


_FIRST = """
CREATE TABLE agent (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    system TEXT NOT NULL,
    description TEXT,
    agent_type TEXT NOT NULL,
    model TEXT NOT NULL,
    context_window INTEGER,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX agent_by_name ON agent (name);
CREATE TABLE agent_tag (
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (tag, agent_id)
) WITHOUT ROWID;
CREATE INDEX agent_tag_by_agent ON agent_tag (agent_id);

CREATE TABLE block (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    size_limit INTEGER NOT NULL,
    description TEXT,
    read_only INTEGER NOT NULL DEFAULT 0,
    hidden INTEGER,
    metadata TEXT NOT NULL,
    tags TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX block_by_label ON block (label);
CREATE TABLE agent_block (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    block_id TEXT NOT NULL REFERENCES block (id) ON DELETE CASCADE,
    UNIQUE (agent_id, block_id)
);
CREATE INDEX agent_block_by_block ON agent_block (block_id);

CREATE TABLE tool (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    tool_type TEXT NOT NULL,
    description TEXT NOT NULL,
    source_code TEXT,
    json_schema TEXT NOT NULL,
    tags TEXT NOT NULL,
    return_char_limit INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE agent_tool (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    tool_id TEXT NOT NULL REFERENCES tool (id) ON DELETE CASCADE,
    UNIQUE (agent_id, tool_id)
);
CREATE INDEX agent_tool_by_tool ON agent_tool (tool_id);

CREATE TABLE conversation (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    summary TEXT,
    description TEXT,
    archived INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    last_message_at TEXT
);
CREATE INDEX conversation_by_agent ON conversation (agent_id);

-- A thread is a conversation, or an agent's own messages (then thread_id is the agent's id).
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    thread_id TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    turn_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    step_id TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'system', 'assistant', 'tool')),
    otid TEXT,
    content TEXT NOT NULL,
    body TEXT NOT NULL,
    pending INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
);
CREATE UNIQUE INDEX message_once ON message (thread_id, otid) WHERE otid IS NOT NULL;
CREATE INDEX message_by_thread ON message (thread_id, seq);
CREATE INDEX message_by_agent ON message (agent_id, seq);
CREATE INDEX message_by_run ON message (run_id);

-- A turn that waits for its caller to run tools: its messages are `pending`, its memory changes wait here.
CREATE TABLE paused (
    thread_id TEXT PRIMARY KEY,
    turn_id TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    run_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    calls TEXT NOT NULL,
    client_tools TEXT NOT NULL,
    changes TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- What the messages up to `upto` (a message's seq) said; only the newest of a thread counts.
CREATE TABLE summary (
    thread_id TEXT NOT NULL,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    upto INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (thread_id, upto)
);

CREATE TABLE run (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    conversation_id TEXT,
    turn_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('created', 'running', 'completed', 'failed', 'cancelled')),
    stop_reason TEXT,
    background INTEGER NOT NULL,
    usage TEXT NOT NULL,
    steps TEXT NOT NULL,
    error TEXT,
    created_at TEXT NOT NULL,
    completed_at TEXT,
    duration_ns INTEGER,
    alive_until REAL
);
CREATE INDEX run_by_agent ON run (agent_id, seq);
CREATE INDEX run_by_turn ON run (turn_id);

CREATE TABLE passage (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    agent_id TEXT NOT NULL REFERENCES agent (id) ON DELETE CASCADE,
    text TEXT NOT NULL,
    tags TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX passage_by_agent ON passage (agent_id, seq);
CREATE VIRTUAL TABLE passage_words USING fts5 (
    text, content='passage', content_rowid='seq', tokenize="unicode61 remove_diacritics 2"
);
CREATE TRIGGER passage_added AFTER INSERT ON passage BEGIN
    INSERT INTO passage_words (rowid, text) VALUES (new.seq, new.text);
END;
CREATE TRIGGER passage_gone AFTER DELETE ON passage BEGIN
    INSERT INTO passage_words (passage_words, rowid, text) VALUES ('delete', old.seq, old.text);
END;
"""

_STEPS: tuple[str, ...] = (_FIRST,)


def check(connection: sqlite3.Connection) -> None:
    """Raises NewerDatabase for a file from a newer program; only reads."""
    done = _version(connection)
    if done > len(_STEPS):
        raise NewerDatabase(f"it has schema {done}, this program knows {len(_STEPS)}: use a newer program")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the file to this program's schema. Raises NewerDatabase for a file from a newer program."""
    if _version(connection) == len(_STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        check(connection)  # again, under the lock: another process may have been faster
        for script in _STEPS[_version(connection) :]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(_STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
