"""Knowledge that every agent of a constellation can search: documents, their passages, and two indexes over these."""

from __future__ import annotations

revision = "0004"
down_revision = "0003"

INDEXES = {"passage_words": "porter unicode61 remove_diacritics 2", "passage_parts": "trigram"}
"""Each index's tokenizer: words in all their forms, and any three letters in a row."""


def upgrade() -> None:
    """Create the tables and the indexes. A passage is written and deleted only; SQLite's indexes follow by triggers."""
    import sqlalchemy as sa
    from alembic import op

    op.create_table(
        "document",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("chars", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("caller", "project", "author", "name"),
    )
    op.create_table(
        "passage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "ordinal"),
    )
    op.create_index("passage_owner", "passage", ["caller", "kind"])
    op.create_table(
        "document_copy",
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("letta_file", sa.String(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("document", "server"),
    )
    op.create_table(
        "folder",
        sa.Column("caller", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("letta_id", sa.String(), nullable=False),
        sa.Column("agents", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "server"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _index_on_postgresql()
    else:
        _index_on_sqlite()


def _index_on_sqlite() -> None:
    from alembic import op

    for index, tokenizer in INDEXES.items():
        columns = f"(title, text, content='passage', content_rowid='id', tokenize='{tokenizer}')"
        gone = f"({index}, rowid, title, text) VALUES ('delete', old.id, old.title, old.text)"
        new = "(rowid, title, text) VALUES (new.id, new.title, new.text)"
        op.execute(f"CREATE VIRTUAL TABLE {index} USING fts5{columns}")
        for event, change in (("INSERT", new), ("DELETE", gone)):
            op.execute(
                f"CREATE TRIGGER {index}_{event} AFTER {event} ON passage BEGIN INSERT INTO {index}{change}; END"
            )


def _index_on_postgresql() -> None:
    """The words in all their forms with their places, and three letters in a row; `memory` writes them.

    The dictionary is the one that SQLite's `porter` is, and knows no words that do not count.
    """
    from alembic import op

    op.execute("CREATE TEXT SEARCH DICTIONARY passage_forms (TEMPLATE = snowball, LANGUAGE = porter)")
    op.execute(
        "CREATE TABLE passage_words (id integer PRIMARY KEY REFERENCES passage (id) ON DELETE CASCADE,"
        " words tsvector NOT NULL, size integer NOT NULL, folded text NOT NULL, parts text[] NOT NULL)"
    )
    op.execute("CREATE INDEX passage_words_words ON passage_words USING gin (words)")
    op.execute("CREATE INDEX passage_words_parts ON passage_words USING gin (parts)")
