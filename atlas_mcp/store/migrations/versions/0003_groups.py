"""Groups, their conversations, and agents that a caller added."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "addition",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "kind", "name"),
    )
    op.create_table(
        "group_copy",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("letta_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "server", "name"),
    )
    op.create_table(
        "group_conversation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("group_name", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("tended", sa.Integer(), nullable=False),
        sa.Column("tended_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("group_conversation_thread", "group_conversation", ["caller", "group_name", "client"])
    op.create_table(
        "group_thread",
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("thread", sa.String(), nullable=False),
        sa.Column("heard", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("conversation", "server", "agent"),
    )
    op.create_table(
        "group_message",
        sa.Column("conversation", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("speaker", sa.String(), nullable=False),
        sa.Column("to", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("turn_id", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("conversation", "number"),
        sa.UniqueConstraint("conversation", "key"),
    )
