"""What turns may cost and did, by caller, run and day."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the ledger, and let runs tell their budgets."""
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "ledger",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("turn", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("turns", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=True),
    )
    op.create_index("ledger_day", "ledger", ["caller", "day", "run_id"])
    op.create_index("ledger_run", "ledger", ["run_id"])
    op.add_column("run", sa.Column("budget", sa.JSON(), nullable=True))
