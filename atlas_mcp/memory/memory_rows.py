"""Rows of memories, their revisions, and the passages that they are searched by: all three in one commit.

A memory that is remembered has passages, also one that another took the place of; one that was refused or taken back
has none. A revision keeps what the memory was after it, so that any of them can be given again.
"""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, insert, or_, select, text, update

from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.documents import Origin, add_passages, remove_passages
from atlas_mcp.model.memory_item import Change, MemoryItem, MemoryRevision, New
from atlas_mcp.model.memory_kinds import LIFETIMES, REFUSED
from atlas_mcp.store.memory_tables import CURRENT, memory, memory_revision
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

_KEPT = ("text", "source", "quote", "trust", "author")
"""What a revision keeps of a memory."""


def as_compared(content: str) -> str:
    """The hash of a text as it is compared: capitals, spaces and the stop at its end make no difference."""
    plain = " ".join(unicodedata.normalize("NFKC", content).casefold().split())
    return hashlib.sha256((plain.rstrip(" .!…") or plain).encode()).hexdigest()


def living() -> ColumnElement[bool]:
    """The condition on a memory that has not expired."""
    return or_(memory.c.expires_at.is_(None), memory.c.expires_at > datetime.now(UTC))


async def find(db: AsyncConnection, caller: Caller, memory_id: str) -> Row[Any] | None:
    """The caller's memory of that id, if it has not expired."""
    mine = (memory.c.caller == caller.id, memory.c.id == memory_id, living())
    return (await db.execute(select(memory).where(*mine))).one_or_none()


async def holder(db: AsyncConnection, caller: Caller, place: New | Row[Any]) -> Row[Any] | None:
    """What is remembered now under the key that is given; one that has expired is deleted on the way."""
    if place.key is None:
        return None
    mine = (*_place(caller, place), memory.c.key == place.key, text(CURRENT))
    row = (await db.execute(select(memory).where(*mine))).one_or_none()
    if row is not None and row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        await remove(db, caller, row.id)
        return None
    return row


async def with_text(db: AsyncConnection, caller: Caller, new: New) -> list[Row[Any]]:
    """What says the same in the same place, whatever became of it, the newest first; not what was refused."""
    mine = (*_place(caller, new), memory.c.sha256 == as_compared(new.text), memory.c.reason == "", living())
    return list(await db.execute(select(memory).where(*mine).order_by(memory.c.created_at.desc(), memory.c.id)))


def _place(caller: Caller, place: New | Row[Any]) -> tuple[ColumnElement[bool], ...]:
    return (
        memory.c.caller == caller.id,
        memory.c.kind == place.kind,
        memory.c.scope == place.scope,
        memory.c.project == place.project,
    )


async def create(
    db: AsyncConnection, caller: Caller, new: New, *, memory_id: str | None = None, superseded_by: str | None = None
) -> Row[Any]:
    """Write a new memory with its first revision and its passages."""
    now = datetime.now(UTC)
    row = {
        **new.model_dump(exclude={"lifetime", "trust", "id"}),
        "id": memory_id or new.id or new_id(),
        "caller": caller.id,
        "sha256": as_compared(new.text),
        "revision": 1,
        "trust": new.weight,
        "superseded_by": superseded_by,
        "created_at": now,
        "updated_at": now,
        "expires_at": expiry(new),
    }
    made = (await db.execute(insert(memory).values(row).returning(*memory.c))).one()
    await _note(db, caller, made, "created", new.run_id)
    await index(db, caller, made)
    return made


async def revise(
    db: AsyncConnection, caller: Caller, row: Row[Any], operation: Change, run_id: str | None = None, **values: Any
) -> Row[Any]:
    """Change a memory, as its next revision; its passages follow."""
    changes = values | {"revision": row.revision + 1, "updated_at": datetime.now(UTC)}
    if "text" in values:
        changes["sha256"] = as_compared(values["text"])
    mine = (memory.c.caller == caller.id, memory.c.id == row.id)
    made = (await db.execute(update(memory).where(*mine).values(changes).returning(*memory.c))).one()
    await _note(db, caller, made, operation, run_id)
    if made.text == row.text and not made.reason and not row.reason:
        await _follow(db, caller, made)
    else:
        await remove_passages(db, caller, made.id)
        await index(db, caller, made)
    return made


async def supersede(db: AsyncConnection, caller: Caller, memory_id: str, by: str | None) -> None:
    """Say what took the memory's place; None is that it is remembered again."""
    mine = (memory.c.caller == caller.id, memory.c.id == memory_id)
    await db.execute(update(memory).where(*mine).values(superseded_by=by))
    theirs = (passage.c.caller == caller.id, passage.c.source == memory_id)
    await db.execute(update(passage).where(*theirs).values(superseded_by=by))


async def renew(db: AsyncConnection, caller: Caller, row: Row[Any], until: datetime | None) -> None:
    """Keep the memory until then."""
    mine = (memory.c.caller == caller.id, memory.c.id == row.id)
    await db.execute(update(memory).where(*mine).values(expires_at=until))
    theirs = (passage.c.caller == caller.id, passage.c.source == row.id)
    await db.execute(update(passage).where(*theirs).values(expires_at=until))


async def remove(db: AsyncConnection, caller: Caller, memory_id: str) -> None:
    """Delete a memory with its revisions and passages. What it took the place of stays as it is."""
    await remove_passages(db, caller, memory_id)
    await db.execute(
        delete(memory_revision).where(memory_revision.c.caller == caller.id, memory_revision.c.memory == memory_id)
    )
    await db.execute(delete(memory).where(memory.c.caller == caller.id, memory.c.id == memory_id))


async def revisions(db: AsyncConnection, caller: Caller, memory_id: str) -> list[Row[Any]]:
    """All revisions of a memory, oldest first."""
    mine = (memory_revision.c.caller == caller.id, memory_revision.c.memory == memory_id)
    return list(await db.execute(select(memory_revision).where(*mine).order_by(memory_revision.c.number)))


def kept(revision: Row[Any]) -> dict[str, Any]:
    """What a memory was after that revision."""
    return {name: getattr(revision, name) for name in _KEPT}


def expiry(new: New) -> datetime | None:
    """When it is deleted, if it is written now."""
    return lasting(REFUSED if new.reason else new.lifetime or LIFETIMES[new.kind])


def lasting(lifetime: timedelta | None) -> datetime | None:
    """The moment that is so long after now; none for ever."""
    return datetime.now(UTC) + lifetime if lifetime else None


def new_id() -> str:
    """An id for a new memory."""
    return f"mem-{uuid4()}"


def as_item(row: Row[Any], history: list[Row[Any]] | None = None) -> MemoryItem:
    """The memory as callers see it."""
    given = {name: row._mapping[name] for name in MemoryItem.model_fields if name in row._mapping}  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's own public name
    given["project"] = row.project or None
    if history is not None:
        given["history"] = [_as_revision(one) for one in reversed(history)]
    return MemoryItem.model_validate(given)


def _as_revision(row: Row[Any]) -> MemoryRevision:
    return MemoryRevision(
        revision=row.number, text=row.text, source=row.source, operation=row.operation,
        author=row.author, run_id=row.run_id, at=row.at,
    )  # fmt: skip


async def _note(db: AsyncConnection, caller: Caller, row: Row[Any], operation: Change, run_id: str | None) -> None:
    values = {name: getattr(row, name) for name in _KEPT} | {
        "memory": row.id,
        "number": row.revision,
        "caller": caller.id,
        "operation": operation,
        "run_id": run_id,
        "at": row.updated_at,
    }
    await db.execute(insert(memory_revision).values(values))


async def index(db: AsyncConnection, caller: Caller, row: Row[Any]) -> None:
    """Write the passages that a memory without any is searched by; one that was refused gets none."""
    if row.reason:
        return
    origin = Origin(
        row.kind, row.id, row.about or row.kind.replace("_", " "), row.project, row.author, row.trust, row.updated_at,
        scope=row.scope, expires_at=row.expires_at, superseded_by=row.superseded_by,
    )  # fmt: skip
    await add_passages(db, caller, origin, passages(row.text))


async def _follow(db: AsyncConnection, caller: Caller, row: Row[Any]) -> None:
    """Bring the passages up to date where the text is the same: their vectors stay."""
    theirs = (passage.c.caller == caller.id, passage.c.source == row.id)
    same = {"author": row.author, "trust": row.trust, "expires_at": row.expires_at, "superseded_by": row.superseded_by}
    await db.execute(update(passage).where(*theirs).values(same))
