"""Feedback, alerts, samples, examples for evaluation, versions of prompts, and proposals."""

from __future__ import annotations

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables."""
    import sqlalchemy as sa
    from alembic import op

    raised = sa.text("cleared_at IS NULL")
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("turn_id", sa.String(), nullable=True),
        sa.Column("trace_id", sa.String(), nullable=True),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("feedback_owner", "feedback", ["caller", "at"])
    op.create_index("feedback_run", "feedback", ["run_id"])
    op.add_column("turn", sa.Column("trace_id", sa.String(), nullable=True))
    op.create_index("turn_trace", "turn", ["trace_id"])
    op.create_table(
        "alert",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=True),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("trace_id", sa.String(), nullable=True),
        sa.Column("raised_at", sa.DateTime(), nullable=False),
        sa.Column("cleared_at", sa.DateTime(), nullable=True),
        sa.Column("sent", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "alert_raised", "alert", ["rule", "subject"], unique=True, sqlite_where=raised, postgresql_where=raised
    )
    op.create_index("alert_time", "alert", ["raised_at"])
    op.create_index("turn_time", "turn", ["started_at"])
    op.add_column("run", sa.Column("trace_ids", sa.JSON(), nullable=True))
    op.add_column("run", sa.Column("told_at", sa.DateTime(), nullable=True))
    op.execute("UPDATE run SET told_at = updated_at")  # what ended before is not told to MLflow all at once
    untold = sa.text("told_at IS NULL AND kind <> 'turn'")
    op.create_index("run_untold", "run", ["updated_at"], sqlite_where=untold, postgresql_where=untold)
    op.create_index("run_time", "run", ["created_at"])
    op.create_table(
        "sample",
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("at", "process", "name"),
    )
    op.create_index("sample_name", "sample", ["name", "at"])
    op.create_table(
        "example",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("goal", sa.Text(), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("expected", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("example_suite", "example", ["caller", "suite"])
    op.create_table(
        "prompt",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=True),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("promoted_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", "version"),
    )
    op.create_index("prompt_text", "prompt", ["name", "sha256"])
    op.create_table(
        "proposal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("change", sa.JSON(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("gain", sa.JSON(), nullable=False),
        sa.Column("risk", sa.String(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("safe", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=True),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("proposal_status", "proposal", ["status", "made_at"])
