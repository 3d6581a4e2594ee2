"""What runs taught is among the memories; what runs came to is episodic, and is found for a month more."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

revision = "0011"
down_revision = "0010"

_KINDS = {"fact": "long_term", "procedure": "procedural", "what_worked": "procedural"}
_AT_ONCE = 500


def upgrade() -> None:
    """Move each row of `learning`, with its passages, under the same id; then the table goes."""
    import sqlalchemy as sa
    from alembic import op

    db, tables = op.get_bind(), sa.MetaData()
    learning, memory, past, passage = (
        sa.Table(name, tables, autoload_with=db) for name in ("learning", "memory", "memory_revision", "passage")
    )
    rows = db.execute(sa.select(learning)).mappings().all()
    for start in range(0, len(rows), _AT_ONCE):
        moved = [_memory(dict(row)) for row in rows[start : start + _AT_ONCE]]
        db.execute(sa.insert(memory), moved)
        db.execute(sa.insert(past), [_first_revision(one) for one in moved])
        for kind in set(_KINDS.values()):
            ids = [one["id"] for one in moved if one["kind"] == kind]
            db.execute(sa.update(passage).where(passage.c.source.in_(ids)).values(kind=kind))
    until = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=30)
    db.execute(sa.update(passage).where(passage.c.kind == "run").values(kind="episodic", expires_at=until))
    op.drop_table("learning")


def _memory(row: dict[str, Any]) -> dict[str, Any]:
    """The learning as a memory. Whom it helps stood in words of its own: they are in what it is about."""
    audience = "" if row["audience"].strip().lower() in {"", "all"} else f" (for {row['audience'].strip()})"
    same = ("id", "caller", "project", "text", "source", "quote", "confidence", "scores", "score", "trust", "reason")
    return {name: row[name] for name in (*same, "run_id", "expires_at")} | {
        "kind": _KINDS[row["kind"]],
        "scope": "all",
        "key": None,
        "about": f"{row['about']}{audience}".strip(),
        "sha256": _as_compared(row["text"]),
        "revision": 1,
        "author": f"agent:{row['agent']}",
        "turn_id": None,
        "superseded_by": None,
        "created_at": row["at"],
        "updated_at": row["at"],
    }


def _first_revision(one: dict[str, Any]) -> dict[str, Any]:
    same = ("caller", "text", "source", "quote", "trust", "author", "run_id")
    mine = {"memory": one["id"], "number": 1, "operation": "created", "at": one["created_at"]}
    return {name: one[name] for name in same} | mine


def _as_compared(text: str) -> str:
    """The hash of a text as memories were compared when this was written."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.sha256((plain.rstrip(" .!…") or plain).encode()).hexdigest()
