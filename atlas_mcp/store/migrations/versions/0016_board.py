"""Who is signed in at the run board, for all processes on the record."""

from __future__ import annotations

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the table."""
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "board_session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("board_session_end", "board_session", ["ends_at"])
