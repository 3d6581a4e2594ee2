"""The tables of how good and how healthy the work is: feedback, alerts, samples, examples, prompts and proposals.

Feedback and examples belong to a caller, and so do alerts about a caller's task or budget; the others are of the house.
Neither alerts nor samples hold a caller's text.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, PrimaryKeyConstraint, String, Table, Text, text

from atlas_mcp.store.columns import Utc, metadata

RAISED = "cleared_at IS NULL"
"""The condition on a row of `alert` that says that it stands."""

feedback = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("run_id", String),
    Column("turn_id", String),
    Column("trace_id", String),
    Column("good", Boolean, nullable=False),
    Column("comment", Text, nullable=False),
    Column("client", String, nullable=False, comment="of which program it came"),
    Column("at", Utc, nullable=False),
    Index("feedback_owner", "caller", "at"),
    Index("feedback_run", "run_id"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, comment="whose task or budget it is about; none where it is the house's"),
    Column("rule", String, nullable=False),
    Column("subject", String, nullable=False, comment="what it is about: a run, a store, a caller's hash; empty: all"),
    Column("text", Text, nullable=False),
    Column("value", Float, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("run_id", String),
    Column("trace_id", String),
    Column("raised_at", Utc, nullable=False),
    Column("cleared_at", Utc),
    Column("sent", JSON, comment="what the webhook has been told: raised, cleared"),
    Index("alert_raised", "rule", "subject", unique=True, sqlite_where=text(RAISED), postgresql_where=text(RAISED)),
    Index("alert_time", "raised_at"),
)

sample = Table(
    "sample",
    metadata,
    Column("at", Utc, nullable=False),
    Column("process", String, nullable=False),
    Column("name", String, nullable=False),
    Column("value", Float, nullable=False),
    PrimaryKeyConstraint("at", "process", "name"),
    Index("sample_name", "name", "at"),
)

example = Table(
    "example",
    metadata,
    Column("id", String, primary_key=True),
    Column("caller", String, nullable=False),
    Column("suite", String, nullable=False, comment="the evaluation set that it is in"),
    Column("run_id", String, comment="of which it was made"),
    Column("goal", Text, nullable=False),
    Column("input", JSON, nullable=False),
    Column("expected", JSON, nullable=False),
    Column("made_at", Utc, nullable=False),
    Index("example_suite", "caller", "suite"),
)

prompt = Table(
    "prompt",
    metadata,
    Column("name", String, nullable=False, comment="persona.AGENT, or task.PART"),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("origin", String, nullable=False, comment="file, optimised or edited"),
    Column("parent", Integer, comment="the version that it was made from"),
    Column("evidence", JSON, comment="what it was compared by, and how both did"),
    Column("made_at", Utc, nullable=False),
    Column("promoted_at", Utc, comment="since when it is used instead of the file"),
    PrimaryKeyConstraint("name", "version"),
    Index("prompt_text", "name", "sha256"),
)

proposal = Table(
    "proposal",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False, comment="the agent, role or tool that it concerns"),
    Column("text", Text, nullable=False),
    Column("change", JSON, nullable=False, comment="what is set to what"),
    Column("evidence", JSON, nullable=False),
    Column("gain", JSON, nullable=False, comment="what it is expected to save or better, with the unit"),
    Column("risk", String, nullable=False, comment="low, medium or high"),
    Column("confidence", Float, nullable=False),
    Column("safe", Boolean, nullable=False, comment="whether it may be applied by itself"),
    Column("status", String, nullable=False, comment="proposed, applied, kept, taken_back, dismissed or outdated"),
    Column("measured", JSON, comment="how it was before, and since"),
    Column("made_at", Utc, nullable=False),
    Column("decided_at", Utc),
    Index("proposal_status", "status", "made_at"),
)
