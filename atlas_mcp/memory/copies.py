"""Which documents have a copy in which Letta: what a copier has to do, and what it has done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, insert, or_, select, update

from atlas_mcp.store.tables import document, document_copy, folder

if TYPE_CHECKING:
    from sqlalchemy import Delete
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder in a Letta that has a caller's copies; `agents` are Letta's ids of those that read it."""

    letta_id: str
    agents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """A document whose copy is missing or old; `letta_file` is that of the old one."""

    document: str
    name: str
    revision: int
    letta_file: str | None


async def read_folder(db: AsyncConnection, caller: Caller, server: str) -> Folder | None:
    """The caller's folder on that server."""
    mine = (folder.c.caller == caller.id, folder.c.server == server)
    row = (await db.execute(select(folder).where(*mine))).one_or_none()
    return Folder(row.letta_id, tuple(row.agents)) if row else None


async def write_folder(db: AsyncConnection, caller: Caller, server: str, kept: Folder) -> None:
    """Keep the caller's folder on that server."""
    await db.execute(_folder_gone(caller, server))
    row = {"caller": caller.id, "server": server, "letta_id": kept.letta_id, "agents": list(kept.agents)}
    await db.execute(insert(folder).values(row))


async def forget_folder(db: AsyncConnection, caller: Caller, server: str) -> None:
    """Forget the folder and all copies in it: Letta has lost it."""
    await db.execute(_folder_gone(caller, server))
    mine = (document_copy.c.caller == caller.id, document_copy.c.server == server)
    await db.execute(delete(document_copy).where(*mine))


async def stale(db: AsyncConnection, caller: Caller, server: str) -> list[Stale]:
    """The documents that have no copy of their present revision on that server, oldest first."""
    here = (document_copy.c.document == document.c.id) & (document_copy.c.server == server)
    rows = await db.execute(
        select(document.c.id, document.c.name, document.c.revision, document_copy.c.letta_file)
        .outerjoin(document_copy, here)
        .where(document.c.caller == caller.id)
        .where(or_(document_copy.c.revision.is_(None), document_copy.c.revision != document.c.revision))
        .order_by(document.c.created_at, document.c.id)
    )
    return [Stale(row.id, row.name, row.revision, row.letta_file) for row in rows]


async def orphans(db: AsyncConnection, caller: Caller, server: str) -> dict[str, str | None]:
    """The copies on that server whose documents were deleted: Letta's file by the document's id."""
    left = exists().where(document.c.id == document_copy.c.document)
    mine = (document_copy.c.caller == caller.id, document_copy.c.server == server)
    rows = await db.execute(select(document_copy.c.document, document_copy.c.letta_file).where(*mine, ~left))
    return {row.document: row.letta_file for row in rows}


async def write_copy(
    db: AsyncConnection, caller: Caller, server: str, one: Stale, *, letta_file: str | None, problem: str | None
) -> None:
    """Keep what came of copying: the file that holds this revision now, or why there is none yet."""
    where = (document_copy.c.document == one.document, document_copy.c.server == server)
    known = (await db.execute(select(document_copy.c.revision).where(*where))).scalar_one_or_none()
    values: dict[str, Any] = {"problem": problem, "at": datetime.now(UTC)}
    if letta_file is not None:
        values |= {"revision": one.revision, "letta_file": letta_file}
    if known is None:
        row = {"document": one.document, "caller": caller.id, "server": server, "revision": 0}
        await db.execute(insert(document_copy).values(row | values))
    else:
        await db.execute(update(document_copy).where(*where).values(values))


async def drop_copy(db: AsyncConnection, caller: Caller, server: str, document_id: str) -> None:
    """Forget a copy that is no longer there."""
    mine = (document_copy.c.caller == caller.id, document_copy.c.server == server)
    await db.execute(delete(document_copy).where(*mine, document_copy.c.document == document_id))


async def problems(db: AsyncConnection, caller: Caller) -> list[str]:
    """Why copies are missing, a sentence for each kind of reason."""
    mine = (document_copy.c.caller == caller.id, document_copy.c.problem.is_not(None))
    return list((await db.execute(select(document_copy.c.problem).distinct().where(*mine))).scalars())


async def callers_with_documents(db: AsyncConnection) -> list[str]:
    """Ids of the callers that have documents, or copies of such as they had."""
    have = select(document.c.caller).union(select(document_copy.c.caller))
    return sorted((await db.execute(have)).scalars())


def _folder_gone(caller: Caller, server: str) -> Delete:
    return delete(folder).where(folder.c.caller == caller.id, folder.c.server == server)
