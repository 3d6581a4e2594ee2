"""Which Letta each constellation is placed on, and which Letta the ids of agents, blocks and conversations are of.

Until now there was only the embedded Letta: everything kept before is on it.
"""

from __future__ import annotations

revision = "0002"
down_revision = "0001"


_OLD = {
    "agent": "caller, name, letta_id, fingerprint, created_at, updated_at",
    "block": 'caller, owner, label, letta_id, "limit"',
    "conversation": "id, caller, agent, client, run_id, created_at",
}


def upgrade() -> None:
    """Make the tables anew, because SQLite changes no key of one that is there, and fill them."""
    from alembic import op

    op.drop_index("conversation_thread")
    for table in _OLD:
        op.rename_table(table, f"{table}_before")
    _create()
    for table, columns in _OLD.items():
        op.execute(f"INSERT INTO {table} (server, {columns}) SELECT 'embedded', {columns} FROM {table}_before")  # noqa: S608
    placed = "SELECT caller, server, min(created_at) FROM agent GROUP BY caller, server"
    op.execute(f"INSERT INTO placement (caller, server, at) {placed}")
    for table in _OLD:
        op.drop_table(f"{table}_before")


def _create() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "placement",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("moving_to", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller"),
    )
    op.create_table(
        "agent",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("letta_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "server", "name"),
    )
    op.create_table(
        "block",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("letta_id", sa.String(), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "server", "owner", "label"),
        sa.UniqueConstraint("server", "letta_id"),
    )
    op.create_table(
        "conversation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("conversation_thread", "conversation", ["caller", "server", "agent", "client"])
    op.create_index("turn_open", "turn", ["conversation", "status"])
