"""Memories, their vectors, what is known of the world in facts, and what other stores are told."""

from __future__ import annotations

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables. A passage that goes takes its vectors along; each change of a vector goes to the outbox."""
    import sqlalchemy as sa
    from alembic import op

    op.add_column("passage", sa.Column("scope", sa.String(), nullable=False, server_default="all"))
    op.add_column("passage", sa.Column("expires_at", sa.DateTime(), nullable=True))
    op.add_column("passage", sa.Column("superseded_by", sa.String(), nullable=True))
    op.add_column("passage", sa.Column("used_at", sa.DateTime(), nullable=True))
    op.add_column("passage", sa.Column("repeated", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("passage_expiry", "passage", ["expires_at"])
    _create_memories()
    _create_facts()
    op.create_table(
        "vector",
        sa.Column("passage", sa.Integer(), sa.ForeignKey("passage.id", ondelete="CASCADE"), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", "passage"),
    )
    op.create_index("vector_passage", "vector", ["passage"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_topic", "outbox", ["topic", "seq"])
    op.create_table(
        "derived",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        _follow_on_postgresql()
        _find_short_pieces_on_postgresql()
    else:
        _follow_on_sqlite()
        _find_short_pieces_on_sqlite()


def _create_memories() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "memory",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("about", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("turn_id", sa.String(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("scores", sa.JSON(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
    )
    current = sa.text("superseded_by IS NULL AND reason = ''")
    key = ["caller", "kind", "scope", "project", "key"]
    op.create_index("memory_key", "memory", key, unique=True, sqlite_where=current, postgresql_where=current)
    op.create_index("memory_owner", "memory", ["caller", "created_at", "id"])
    op.create_index("memory_text", "memory", ["caller", "sha256"])
    op.create_index("memory_successor", "memory", ["superseded_by"])
    op.create_index("memory_run", "memory", ["run_id"])
    op.create_index("memory_expiry", "memory", ["expires_at"])
    op.create_table(
        "memory_revision",
        sa.Column("memory", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("memory", "number"),
    )
    op.create_index("memory_revision_run", "memory_revision", ["caller", "run_id"])
    op.create_table(
        "forgotten",
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("places", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("purged_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("caller", "item"),
    )
    op.create_index("forgotten_text", "forgotten", ["caller", "sha256"])
    op.create_table(
        "summary",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("covers", sa.JSON(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    op.create_index("summary_subject", "summary", ["caller", "subject", "at"])


def _create_facts() -> None:
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "entity",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("norm", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("merged_into", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("caller", "norm", "kind"),
    )
    op.create_index("entity_merged", "entity", ["caller", "merged_into"])
    op.create_table(
        "fact",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("relation", sa.String(), nullable=False),
        sa.Column("object", sa.String(), nullable=True),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("true_from", sa.DateTime(), nullable=True),
        sa.Column("true_until", sa.DateTime(), nullable=True),
        sa.Column("learned_at", sa.DateTime(), nullable=False),
        sa.Column("superseded_at", sa.DateTime(), nullable=True),
        sa.Column("superseded_by", sa.String(), nullable=True),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("functional", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version"),
    )
    op.create_index("fact_subject", "fact", ["subject", "relation"])
    op.create_index("fact_object", "fact", ["object"])
    op.create_index("fact_successor", "fact", ["superseded_by"])
    op.create_index("fact_run", "fact", ["run_id"])


_CHANGES = (("INSERT", "new"), ("DELETE", "old"))
_GRAPH = (
    ("fact", "INSERT", "new"),
    ("fact", "UPDATE", "new"),
    ("fact", "DELETE", "old"),
    ("entity", "UPDATE", "new"),
    ("entity", "DELETE", "old"),
)
_MIRRORED = "EXISTS (SELECT 1 FROM derived WHERE name = 'graph')"
_CACHED = "EXISTS (SELECT 1 FROM derived WHERE name = 'redis')"


def _follow_on_sqlite() -> None:
    from alembic import op

    op.execute(
        "CREATE TRIGGER passage_vectors AFTER DELETE ON passage BEGIN DELETE FROM vector WHERE passage = old.id; END"
    )
    for event, row in _CHANGES:
        item = f"{row}.fingerprint || ' ' || {row}.passage"
        op.execute(
            f"CREATE TRIGGER vector_{event} AFTER {event} ON vector BEGIN"  # noqa: S608 - our own names
            f" INSERT INTO outbox(topic, item) VALUES ('vector', {item}); END"
        )
    for event, row in (*_CHANGES, ("UPDATE", "new")):
        item = f"{row}.caller || char(31) || {row}.scope || char(31) || {row}.project || char(31) || {row}.key"
        op.execute(
            f"CREATE TRIGGER working_{event} AFTER {event} ON memory"  # noqa: S608 - our own names
            f" WHEN {row}.kind = 'working' AND {row}.key IS NOT NULL AND {_CACHED} BEGIN"
            f" INSERT INTO outbox(topic, item) VALUES ('working', {item}); END"
        )
    for table, event, row in _GRAPH:
        op.execute(
            f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} WHEN {_MIRRORED} BEGIN"  # noqa: S608 - our own names
            f" INSERT INTO outbox(topic, item) VALUES ('graph', {row}.id); END"
        )


def _follow_on_postgresql() -> None:
    from alembic import op

    for event, row in _CHANGES:
        name = f"vector_{event.lower()}"
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"  # noqa: S608 - our own names
            f" INSERT INTO outbox(topic, item) VALUES ('vector', {row}.fingerprint || ' ' || {row}.passage);"
            " RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON vector FOR EACH ROW EXECUTE FUNCTION {name}()")
    for event, row in (*_CHANGES, ("UPDATE", "new")):
        name, item = (
            f"working_{event.lower()}",
            f"concat_ws(chr(31), {row}.caller, {row}.scope, {row}.project, {row}.key)",
        )
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"  # noqa: S608 - our own names
            f" IF {row}.kind = 'working' AND {row}.key IS NOT NULL AND {_CACHED} THEN"
            f" INSERT INTO outbox(topic, item) VALUES ('working', {item}); END IF; RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON memory FOR EACH ROW EXECUTE FUNCTION {name}()")
    for table, event, row in _GRAPH:
        name = f"{table}_{event.lower()}"
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {_MIRRORED} THEN"  # noqa: S608 - our own names
            f" INSERT INTO outbox(topic, item) VALUES ('graph', {row}.id); END IF; RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Scripts that put no spaces between words, as `memory.words` had them when this was written."""


def _find_short_pieces_on_sqlite() -> None:
    """Index the letters with two line ends behind each text: so every piece, however short, begins some three letters
    in a row, and the list of these finds it.
    """
    from alembic import op

    pad = " || char(10, 10)"
    op.execute(
        f"CREATE VIEW passage_padded AS SELECT id, title{pad} AS title, text{pad} AS text FROM passage"  # noqa: S608 - our own names
    )
    for event in ("INSERT", "DELETE"):
        op.execute(f"DROP TRIGGER passage_parts_{event}")
    op.execute("DROP TABLE passage_parts")
    columns = "(title, text, content='passage_padded', content_rowid='id', tokenize='trigram')"
    op.execute(f"CREATE VIRTUAL TABLE passage_parts USING fts5{columns}")
    op.execute("INSERT INTO passage_parts(passage_parts) VALUES ('rebuild')")
    gone = f"(passage_parts, rowid, title, text) VALUES ('delete', old.id, old.title{pad}, old.text{pad})"
    new = f"(rowid, title, text) VALUES (new.id, new.title{pad}, new.text{pad})"
    for event, change in (("INSERT", new), ("DELETE", gone)):
        op.execute(
            f"CREATE TRIGGER passage_parts_{event} AFTER {event} ON passage"
            f" BEGIN INSERT INTO passage_parts{change}; END"
        )
    op.execute("CREATE VIRTUAL TABLE passage_parts_places USING fts5vocab(passage_parts, instance)")


def _find_short_pieces_on_postgresql() -> None:
    """Index also the one and two letters in a row of scripts in which they can be words."""
    from alembic import op

    pieces = (
        "SELECT array_agg(DISTINCT substr(folded, i, n))"  # noqa: S608 - our own ranges
        " FROM generate_series(1, length(folded)) AS i, generate_series(1, 2) AS n"
        f" WHERE substr(folded, i, n) ~ '^[{_UNSPACED}]+$'"
    )
    op.execute(
        f"UPDATE passage_words SET parts = parts || coalesce(({pieces}), '{{}}')"  # noqa: S608 - our own names
        f" WHERE folded ~ '[{_UNSPACED}]'"
    )
