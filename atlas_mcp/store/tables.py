"""The record's tables. Every row that belongs to a caller carries `caller`, and every query filters by it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class Utc(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone: it is taken off on the way in and put back on the way out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment in UTC, without its zone; a naive one is refused."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment without a zone: {value}")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The moment, in UTC."""
        return value.replace(tzinfo=UTC) if value else None


metadata = MetaData()

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
    PrimaryKeyConstraint("block_id", "number"),
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
    Column("message", Text, nullable=False),
    Column("status", String, nullable=False, comment="started, done or failed"),
    Column("letta_run", String),
    Column("result", JSON, comment="the TurnResult, once done"),
    Column("error", Text),
    Column("started_at", Utc, nullable=False),
    Column("finished_at", Utc),
    UniqueConstraint("caller", "key"),
    Index("turn_run", "run_id"),
)

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
    Column("executor", String, comment="id of the process that executes it; it holds the lock of that name"),
    Column("needs", JSON, nullable=False, comment="names of the model providers the run needs"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("last_seq", Integer, nullable=False, default=0),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Index("run_newest", "caller", "created_at"),
    Index("run_open", "status"),
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
    PrimaryKeyConstraint("run_id", "seq"),
    UniqueConstraint("run_id", "key"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("name", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("run_id", "name"),
)
