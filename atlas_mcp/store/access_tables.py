"""The tables of the door: the keys by which people and programs come in over HTTP, who is signed in, and the audit log.

No secret stands here: of a key only its hash, of a session what only its cookie can open. The audit log is append-only:
the database itself refuses to change or delete an entry.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, String, Table, Text

from atlas_mcp.store.columns import Utc, metadata

access_key = Table(
    "access_key",
    metadata,
    Column("id", String, primary_key=True, comment="what names the key; part of it, and no secret"),
    Column("name", String, nullable=False),
    Column("caller", String, nullable=False, comment="whose constellation its holder speaks to"),
    Column("hash", String, nullable=False, comment="SHA-256 of the secret"),
    Column("scopes", JSON, nullable=False),
    Column("limits", JSON, nullable=False, comment="what replaces the settings' limits for this key"),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    Column("used_at", Utc),
    Index("access_key_caller", "caller"),
)

board_session = Table(
    "board_session",
    metadata,
    Column("id", String, primary_key=True, comment="SHA-256 of the cookie"),
    Column("sealed", Text, nullable=False, comment="the token that was given, which only the cookie opens"),
    Column("ends_at", Utc, nullable=False),
    Index("board_session_end", "ends_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("caller", String, nullable=False),
    Column("via", String, nullable=False, comment="how it came in: stdio, cli, a key's id, or a login's issuer"),
    Column("client", String, nullable=False, comment="the name that the program gave itself"),
    Column("address", String, nullable=False, comment="from which machine, where it is known"),
    Column("action", String, nullable=False),
    Column("target", String, nullable=False, comment="what it was done to: an agent, a run, a memory"),
    Column("outcome", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("trace_id", String),
    Index("audit_caller", "caller", "seq"),
    Index("audit_time", "at"),
)
