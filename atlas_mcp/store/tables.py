"""The record's tables. Every row that belongs to a caller carries `caller`, and every query filters by it."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from atlas_mcp.store import (
    access_tables,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    memory_tables,  # noqa: F401  # pyright: ignore[reportUnusedImport]  # of the same schema
    quality_tables,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    reach_tables,  # noqa: F401  # pyright: ignore[reportUnusedImport]
)
from atlas_mcp.store.columns import Utc, metadata

__all__ = ["Utc", "metadata"]

placement = Table(
    "placement",
    metadata,
    Column("caller", String, primary_key=True),
    Column("server", String, nullable=False, comment="name of the Letta that has the caller's constellation"),
    Column("moving_to", String, comment="name of the Letta that it is being moved to"),
    Column("at", Utc, nullable=False),
)

agent = Table(
    "agent",
    metadata,
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False, comment="name of the Letta; ids of one mean nothing on another"),
    Column("name", String, nullable=False),
    Column("letta_id", String, nullable=False),
    Column("fingerprint", String, nullable=False, comment="hash of persona, model, blocks and tools as last sent"),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    PrimaryKeyConstraint("caller", "server", "name"),
)

block = Table(
    "block",
    metadata,
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False),
    Column("owner", String, nullable=False, comment="agent name, or * for a block shared within the constellation"),
    Column("label", String, nullable=False),
    Column("letta_id", String, nullable=False),
    Column("limit", Integer, nullable=False),
    PrimaryKeyConstraint("caller", "server", "owner", "label"),
    UniqueConstraint("server", "letta_id"),
)

revision = Table(
    "revision",
    metadata,
    Column("block_id", String, nullable=False, comment="Letta's id of the block"),
    Column("number", Integer, nullable=False),
    Column("caller", String, nullable=False),
    Column("value", Text, nullable=False),
    Column("operation", String, nullable=False),
    Column("author", String, nullable=False),
    Column("turn_id", String),
    Column("at", Utc, nullable=False),
    Column("tool", String, comment="the memory tool by which an agent made it"),
    Column("restores", Integer, comment="number of the revision that an undo brought back"),
    PrimaryKeyConstraint("block_id", "number"),
    Index("revision_turn", "turn_id"),
)

conversation = Table(
    "conversation",
    metadata,
    Column("id", String, primary_key=True, comment="Letta's id of the conversation"),
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("client", String, nullable=False, comment="whose own thread it is; empty if opened by a run or by 'new'"),
    Column("run_id", String),
    Column("created_at", Utc, nullable=False),
    Index("conversation_thread", "caller", "server", "agent", "client"),
)

turn = Table(
    "turn",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False, comment="idempotency key: the same key is the same turn"),
    Column("caller", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("conversation", String, nullable=False),
    Column("run_id", String),
    Column("trace_id", String, comment="of the trace that its last attempt is in, as MLflow has it"),
    Column("message", Text, nullable=False),
    Column("status", String, nullable=False, comment="started, done or failed"),
    Column("letta_run", String),
    Column("result", JSON, comment="the TurnResult, once done"),
    Column("error", Text),
    Column("started_at", Utc, nullable=False),
    Column("finished_at", Utc),
    UniqueConstraint("caller", "key"),
    Index("turn_run", "run_id"),
    Index("turn_trace", "trace_id"),
    Index("turn_open", "conversation", "status"),
    Index("turn_time", "started_at"),
)

UNTOLD = "told_at IS NULL AND kind <> 'turn'"
"""The condition on a row of `run` that MLflow is to be told of its end, once it has ended."""

run = Table(
    "run",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("status", String, nullable=False),
    Column("goal", Text, nullable=False),
    Column("input", JSON, nullable=False),
    Column("plan", JSON),
    Column("progress", JSON, nullable=False),
    Column("result", JSON),
    Column("reply", Text),
    Column("usage", JSON, nullable=False),
    Column("error", Text),
    Column("note", Text),
    Column("trace_id", String),
    Column("trace_ids", JSON, comment="every trace that shows something of it: asked for, attempts, answers"),
    Column("executor", String, comment="id of the process that executes it; it holds the lock of that name"),
    Column("needs", JSON, nullable=False, comment="names of the model providers the run needs"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("last_seq", Integer, nullable=False, default=0),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("budget", JSON, comment="its Budget; none is no limit"),
    Column("told_at", Utc, comment="when MLflow was told of its end"),
    Index("run_newest", "caller", "created_at"),
    Index("run_open", "status"),
    Index("run_time", "created_at"),
    Index("run_untold", "updated_at", sqlite_where=text(UNTOLD), postgresql_where=text(UNTOLD)),
)

event = Table(
    "event",
    metadata,
    Column("run_id", String, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    Column("actor", String, nullable=False),
    Column("type", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("turn_id", String),
    Column("data", JSON, nullable=False),
    Column("key", String, comment="idempotency key: the same key is written once in a run"),
    Column("cause", Integer, comment="seq of the event that led to it"),
    PrimaryKeyConstraint("run_id", "seq"),
    UniqueConstraint("run_id", "key"),
)

executor = Table(
    "executor",
    metadata,
    Column("name", String, primary_key=True, comment="id of a process that has runs in its hands"),
    Column("beat", Integer, nullable=False, comment="counted up by it every few seconds; never compared with a clock"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("passing", Boolean, nullable=False, server_default=false(), comment="deleted when the run has ended"),
    UniqueConstraint("run_id", "name"),
)

question = Table(
    "question",
    metadata,
    Column("id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("key", String, nullable=False, comment="idempotency key: the same key is asked once in a run"),
    Column("asked_by", String, nullable=False, comment="the agent that asks, or atlas"),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("options", JSON, nullable=False),
    Column("words", Text, nullable=False, comment="what an answer in words of one's own is; empty if none fits"),
    Column("safe", Text, nullable=False, comment="the answer that is taken at the deadline"),
    Column("asked_at", Utc, nullable=False),
    Column("deadline", Utc, nullable=False),
    Column("answer", Text),
    Column("answered_by", String, comment="caller, deadline, or end where the run ended first"),
    Column("answered_at", Utc),
    UniqueConstraint("run_id", "key"),
    Index("question_open", "answered_at", "deadline"),
)

document = Table(
    "document",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("project", String, nullable=False, comment="empty for none"),
    Column("author", String, nullable=False, comment="caller or agent:NAME; each author has names of its own"),
    Column("name", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("sha256", String, nullable=False, comment="of the whole text, which its passages make"),
    Column("chars", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("trust", Float, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    UniqueConstraint("caller", "project", "author", "name"),
)

passage = Table(
    "passage",
    metadata,
    Column("id", Integer, primary_key=True, comment="the row in both indexes, which follow this table by triggers"),
    Column("caller", String, nullable=False),
    Column("kind", String, nullable=False, comment="a MemoryKind"),
    Column("source", String, nullable=False, comment="id of the document, memory, run or fact"),
    Column("ordinal", Integer, nullable=False),
    Column("title", String, nullable=False, comment="the document's name, what the memory is about, the run's goal"),
    Column("project", String, nullable=False, comment="empty for none"),
    Column("author", String, nullable=False),
    Column("trust", Float, nullable=False),
    Column("at", Utc, nullable=False),
    Column("sha256", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("scope", String, nullable=False, server_default="all", comment="all, agent:NAME or team:NAME"),
    Column("expires_at", Utc, comment="from then on it is found no more"),
    Column("superseded_by", String, comment="id of the memory that took its source's place"),
    Column("used_at", Utc, comment="when a search last gave it to somebody"),
    Column(
        "repeated",
        Integer,
        nullable=False,
        server_default="0",
        comment="how many characters at its beginning repeat what stands before: headings, the end of the last passage",
    ),
    UniqueConstraint("source", "ordinal"),
    Index("passage_owner", "caller", "kind"),
    Index("passage_expiry", "expires_at"),
)

document_copy = Table(
    "document_copy",
    metadata,
    Column("document", String, nullable=False, comment="its row outlives the document until the copy is deleted too"),
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False),
    Column("revision", Integer, nullable=False, comment="of the document that the copy has; 0 before there is one"),
    Column("letta_file", String),
    Column("problem", Text),
    Column("at", Utc, nullable=False),
    PrimaryKeyConstraint("document", "server"),
)

folder = Table(
    "folder",
    metadata,
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False),
    Column("letta_id", String, nullable=False, comment="Letta's id of the folder with copies of the documents"),
    Column("agents", JSON, nullable=False, comment="Letta's ids of the agents that it was attached to"),
    PrimaryKeyConstraint("caller", "server"),
)

addition = Table(
    "addition",
    metadata,
    Column("caller", String, nullable=False),
    Column("kind", String, nullable=False, comment="agent or group: what the caller added to the roster"),
    Column("name", String, nullable=False),
    Column("spec", JSON, nullable=False, comment="the AgentSpec or GroupSpec"),
    Column("created_at", Utc, nullable=False),
    PrimaryKeyConstraint("caller", "kind", "name"),
)

group_copy = Table(
    "group_copy",
    metadata,
    Column("caller", String, nullable=False),
    Column("server", String, nullable=False),
    Column("name", String, nullable=False),
    Column("letta_id", String, nullable=False),
    Column("fingerprint", String, nullable=False, comment="hash of what Letta was last told of the group"),
    Column("updated_at", Utc, nullable=False),
    PrimaryKeyConstraint("caller", "server", "name"),
)

group_conversation = Table(
    "group_conversation",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("group_name", String, nullable=False),
    Column("client", String, nullable=False, comment="whose own thread it is; empty if opened by 'new'"),
    Column("created_at", Utc, nullable=False),
    Column("tended", Integer, nullable=False, comment="number of the last message that background agents have read"),
    Column("tended_at", Utc, nullable=False),
    Index("group_conversation_thread", "caller", "group_name", "client"),
)

group_thread = Table(
    "group_thread",
    metadata,
    Column("conversation", String, nullable=False),
    Column("server", String, nullable=False),
    Column("agent", String, nullable=False),
    Column("thread", String, nullable=False, comment="the agent's own conversation, in Letta"),
    Column("heard", Integer, nullable=False, comment="number of the last message that the agent was told"),
    PrimaryKeyConstraint("conversation", "server", "agent"),
)

group_message = Table(
    "group_message",
    metadata,
    Column("conversation", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("source", String, nullable=False, comment="caller, agent, system or tool"),
    Column("speaker", String, nullable=False),
    Column("to", JSON, nullable=False, comment="names of those it was for; empty for everyone"),
    Column("text", Text, nullable=False),
    Column("turn_id", String),
    Column("run_id", String, nullable=False),
    Column("key", String, nullable=False, comment="idempotency key: the same key is said once in a conversation"),
    Column("at", Utc, nullable=False),
    PrimaryKeyConstraint("conversation", "number"),
    UniqueConstraint("conversation", "key"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("turn", String, nullable=False, comment="what its entries come to is what the turn costs, or may cost"),
    Column("caller", String, nullable=False),
    Column("run_id", String),
    Column("day", String, nullable=False, comment="the day in UTC on which the turn began, as 2026-01-31"),
    Column("model", String, nullable=False, comment="the handle of the model that answers"),
    Column("turns", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("usd", Float, comment="none where the model's price is not known"),
    Index("ledger_day", "caller", "day", "run_id"),
    Index("ledger_run", "run_id"),
)
