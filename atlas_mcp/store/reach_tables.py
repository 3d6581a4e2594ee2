"""The tables of what agents reach: texts from outside that may be quoted, pages kept for a while, tools of other
servers, and the caller's word on what tools may do.
"""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, String, Table, Text

from atlas_mcp.store.columns import Utc, metadata

source = Table(
    "source",
    metadata,
    Column("id", String, primary_key=True, comment="made of all that must be kept once only"),
    Column("caller", String, nullable=False),
    Column("run_id", String, comment="None for what a chat brought"),
    Column("name", String, nullable=False, comment="how it is cited: an address, a path, a tool's name and call"),
    Column("title", Text, nullable=False),
    Column("found_by", String, nullable=False, comment="the agent"),
    Column("at", Utc, nullable=False),
    Column("chars", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Index("source_run", "run_id", "caller", "at"),
)

page = Table(
    "page",
    metadata,
    Column("caller", String, primary_key=True),
    Column("address", String, primary_key=True),
    Column("final_address", String, nullable=False),
    Column("read", JSON, nullable=False, comment="what was made of it: title, author, date, links, kind, text"),
    Column("etag", String),
    Column("last_modified", String),
    Column("fetched_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Index("page_expiry", "expires_at"),
)

server_tool = Table(
    "server_tool",
    metadata,
    Column("server", String, primary_key=True),
    Column("tool", String, primary_key=True),
    Column("sha256", String, nullable=False, comment="of what a model is told of it, as it was approved"),
    Column("told", JSON, nullable=False),
    Column("approved_at", Utc, nullable=False),
)

consent = Table(
    "consent",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("run_id", String, comment="None for ever, in all runs"),
    Column("marks", JSON, nullable=False, comment="what the tool did at worst when it was given"),
    Column("at", Utc, nullable=False),
    Index("consent_caller", "caller", "tool"),
)

held_call = Table(
    "held_call",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("turn", String, nullable=False, comment="the key of the turn, in its run, that made the call"),
    Column("agent", String, nullable=False),
    Column("tool", String, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("sha256", String, nullable=False, comment="of the tool and its arguments"),
    Column("marks", JSON, nullable=False),
    Column("approval", String, nullable=False, comment="ask, run or always"),
    Column("state", String, nullable=False, comment="asked, approved, refused, begun, done, failed or unknown"),
    Column("answer", Text),
    Column("at", Utc, nullable=False),
    Index("held_call_run", "run_id", "turn"),
)
