"""By which tool a block was changed, and which revision an undo restored; a turn's changes are found by the turn."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two columns and an index to the revisions."""
    import sqlalchemy as sa
    from alembic import op

    op.add_column("revision", sa.Column("tool", sa.String(), nullable=True))
    op.add_column("revision", sa.Column("restores", sa.Integer(), nullable=True))
    op.create_index("revision_turn", "revision", ["turn_id"])
