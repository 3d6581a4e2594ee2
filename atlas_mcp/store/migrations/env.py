"""Run by Alembic, on the connection and in the transaction that its caller opened."""


def run() -> None:
    """Run the migrations that Alembic was asked for."""
    from alembic import context

    from atlas_mcp.store.tables import metadata

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,
        render_as_batch=True,  # SQLite alters a table by writing it anew
    )
    with context.begin_transaction():
        context.run_migrations()


run()
