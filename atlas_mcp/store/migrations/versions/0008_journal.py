"""What led to an event, and by what a process that executes runs is seen to go on."""

from __future__ import annotations

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a column to the events, and the table of the processes' beats."""
    import sqlalchemy as sa
    from alembic import op

    op.add_column("event", sa.Column("cause", sa.Integer(), nullable=True))
    op.create_table(
        "executor",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("beat", sa.Integer(), nullable=False),
    )
