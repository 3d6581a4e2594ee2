"""What a run keeps only until it ends."""

from __future__ import annotations

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Say of each artifact whether it stays; all that are there do."""
    import sqlalchemy as sa
    from alembic import op

    op.add_column("artifact", sa.Column("passing", sa.Boolean(), nullable=False, server_default=sa.false()))
