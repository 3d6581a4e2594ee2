"""The tables of what is remembered: memories and their revisions, facts, vectors, and what other stores are told.

A memory's text is searched as passages (`tables.passage`, whose `source` is its id). Vectors belong to passages and go
with them; each that comes or goes is written to the outbox by a trigger, in the same commit. So is every change of
working memory while `derived` has a row `redis`, and of facts while it has a row `graph`: while somebody is fed.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from atlas_mcp.store.columns import Utc, metadata

CURRENT = "superseded_by IS NULL AND reason = ''"
"""The condition on a row of `memory` that says what is remembered now."""

memory = Table(
    "memory",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("kind", String, nullable=False, comment="working, short_term, episodic, long_term or procedural"),
    Column("scope", String, nullable=False, comment="all, agent:NAME or team:NAME"),
    Column("project", String, nullable=False, comment="empty for none"),
    Column("key", String, comment="its name within kind, scope and project, where it has one"),
    Column("about", String, nullable=False, comment="its subject, in a few words"),
    Column("text", Text, nullable=False),
    Column("sha256", String, nullable=False, comment="of the text as it is compared: the same words are the same text"),
    Column("revision", Integer, nullable=False),
    Column("source", Text, nullable=False, comment="a material's name, an event of the run, a turn; each on a line"),
    Column("quote", Text, nullable=False),
    Column("author", String, nullable=False, comment="caller, agent:NAME or atlas"),
    Column("trust", Float, nullable=False),
    Column("run_id", String),
    Column("turn_id", String),
    Column("confidence", Float, comment="0 to 1, as its author gave it"),
    Column("scores", JSON, comment="1 to 5 by what was asked of it"),
    Column("score", Float),
    Column("reason", Text, nullable=False, comment="why it is not remembered; empty for one that is"),
    Column("superseded_by", String, comment="id of the memory that took its place"),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("expires_at", Utc, comment="when it is deleted; none is never"),
    Index(
        "memory_key",
        "caller",
        "kind",
        "scope",
        "project",
        "key",
        unique=True,
        sqlite_where=text(CURRENT),
        postgresql_where=text(CURRENT),
    ),
    Index("memory_owner", "caller", "created_at", "id"),
    Index("memory_text", "caller", "sha256"),
    Index("memory_successor", "superseded_by"),
    Index("memory_run", "run_id"),
    Index("memory_expiry", "expires_at"),
)

memory_revision = Table(
    "memory_revision",
    metadata,
    Column("memory", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("caller", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("trust", Float, nullable=False),
    Column("operation", String, nullable=False),
    Column("author", String, nullable=False, comment="whose text it is"),
    Column("run_id", String, comment="of the run that made the revision"),
    Column("at", Utc, nullable=False),
    PrimaryKeyConstraint("memory", "number"),
    Index("memory_revision_run", "caller", "run_id"),
)

forgotten = Table(
    "forgotten",
    metadata,
    Column("item", String, nullable=False, comment="id of what was forgotten; it is never given again"),
    Column("caller", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("sha256", String, nullable=False, comment="of the text, so that a copy of it is known"),
    Column("places", JSON, nullable=False, comment="where it was, and what became of it there"),
    Column("text", Text, comment="what is still to be taken from other texts and files; none once it was"),
    Column("at", Utc, nullable=False),
    Column("purged_at", Utc, comment="when it was taken from the disk, too"),
    PrimaryKeyConstraint("caller", "item"),
    Index("forgotten_text", "caller", "sha256"),
)

summary = Table(
    "summary",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("subject", String, nullable=False, comment="the run or conversation whose older part it stands for"),
    Column("text", Text, nullable=False),
    Column("covers", JSON, nullable=False, comment="ids of what it sums up"),
    Column("tokens", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    Index("summary_subject", "caller", "subject", "at"),
)

entity = Table(
    "entity",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("name", String, nullable=False),
    Column("norm", String, nullable=False, comment="the name as it is compared"),
    Column("kind", String, nullable=False, comment="empty where nobody said"),
    Column("merged_into", String, comment="id of the entity that it turned out to be"),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("caller", "norm", "kind"),
    Index("entity_merged", "caller", "merged_into"),
)

fact = Table(
    "fact",
    metadata,
    Column("id", String, nullable=False),
    Column("version", Integer, nullable=False, comment="what was held of it at one time; several may hold at once"),
    Column("caller", String, nullable=False),
    Column("subject", String, nullable=False, comment="id of the entity"),
    Column("relation", String, nullable=False),
    Column("object", String, comment="id of the entity; none where the object is a value"),
    Column("value", Text, nullable=False),
    Column("text", Text, nullable=False, comment="the fact as a sentence"),
    Column("scope", String, nullable=False),
    Column("project", String, nullable=False),
    Column("true_from", Utc),
    Column("true_until", Utc),
    Column("learned_at", Utc, nullable=False),
    Column("superseded_at", Utc, comment="when this version ceased to be held; none is held now"),
    Column("superseded_by", String, comment="id of the fact that took its place, or its own; none where it was undone"),
    Column("sources", JSON, nullable=False),
    Column("author", String, nullable=False),
    Column("run_id", String),
    Column("confidence", Float, nullable=False),
    Column("trust", Float, nullable=False),
    Column("functional", Boolean, nullable=False, comment="whether its subject has but one such object at a time"),
    PrimaryKeyConstraint("id", "version"),
    # None begins with the caller: SQLite would take that one for what has a thing at either end, and read all facts.
    Index("fact_subject", "subject", "relation"),
    Index("fact_object", "object"),
    Index("fact_successor", "superseded_by"),
    Index("fact_run", "run_id"),
)

vector = Table(
    "vector",
    metadata,
    Column("passage", Integer, ForeignKey("passage.id", ondelete="CASCADE"), nullable=False),
    Column("fingerprint", String, nullable=False, comment="of the embedder that made it"),
    Column("data", LargeBinary, nullable=False, comment="float32, little-endian, of length 1"),
    PrimaryKeyConstraint("fingerprint", "passage"),
    Index("vector_passage", "passage"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("topic", String, nullable=False, comment="vector, graph or working"),
    Column("item", String, nullable=False, comment="of what changed: its state is read from the record"),
    Index("outbox_topic", "topic", "seq"),
    sqlite_autoincrement=True,
)

derived = Table(
    "derived",
    metadata,
    Column("name", String, primary_key=True, comment="of a store that is fed from the record"),
    Column("state", JSON, nullable=False),
    Column("at", Utc, nullable=False),
)
