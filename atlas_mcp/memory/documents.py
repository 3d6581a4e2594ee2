"""Documents that every agent of a constellation may search: each author's newest text under each name.

Promise: a document is there whole or not at all, with its passages and both indexes. The same name shared again takes
the old text's place as the next revision; the same text changes nothing. A document is its author's: an agent's never
takes the place of the caller's. Every query is bound to one caller. What is deleted is gone from the tables and from
the indexes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import delete, insert, select, text, update

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory import postgres_index
from atlas_mcp.memory.chunks import Piece, pieces
from atlas_mcp.memory.tombstones import check_not_forgotten, lift
from atlas_mcp.model.knowledge import AGENT_TRUST, CALLER_TRUST, MAX_DOCUMENT, MAX_NAME, MAX_OBSERVATION, Document
from atlas_mcp.model.memory_kinds import EVERYBODY
from atlas_mcp.store.tables import document, passage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

CALLER = "caller"
KNOWLEDGE = "knowledge"


@dataclass(frozen=True, slots=True)
class Origin:
    """What all passages of one source have in common."""

    kind: str
    source: str
    title: str
    project: str
    author: str
    trust: float
    at: datetime
    scope: str = EVERYBODY
    expires_at: datetime | None = None
    superseded_by: str | None = None


class Documents:
    """One caller's documents."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self._caller = caller
        self._record = record

    async def share(self, name: str, content: str, *, project: str | None = None, author: str = CALLER) -> Document:
        """Keep the text under that name, as its next revision if it is another text than before.

        Raises InvalidInput for a name or text that is empty or no text, and for an agent's that the caller had
        forgotten; OverLimit for one that is too long.
        """
        limit = MAX_DOCUMENT if author == CALLER else MAX_OBSERVATION
        name, project = _checked_name(name), (project or "").strip()
        check_text(content, limit)
        digest, parts = hashlib.sha256(content.encode()).hexdigest(), pieces(content)
        async with self._record.write() as db:
            if author == CALLER:
                await lift(db, self._caller, [content, *(one.text for one in parts)])
            else:
                await check_not_forgotten(db, self._caller, content)
            before = await self._named(db, project, author, name)
            if before is not None and before.sha256 == digest:
                return _document(before, changed=False)
            kept = await self._keep(db, before, (project, author, name), digest, content, len(parts))
            origin = Origin(KNOWLEDGE, kept.id, name, project, author, kept.trust, kept.updated_at)
            await add_passages(db, self._caller, origin, parts)
        return _document(kept)

    async def _keep(
        self,
        db: AsyncConnection,
        before: Row[Any] | None,
        names: tuple[str, str, str],
        digest: str,
        content: str,
        chunks: int,
    ) -> Row[Any]:
        """Write the document's row, and take away the passages of its revision before."""
        now, (project, author, name) = datetime.now(UTC), names
        changed: dict[str, Any] = {
            "revision": before.revision + 1 if before else 1,
            "sha256": digest,
            "chars": len(content),
            "chunks": chunks,
            "updated_at": now,
        }
        if before is not None:
            await remove_passages(db, self._caller, before.id)
            change = update(document).where(document.c.id == before.id).values(changed)
        else:
            first = {
                "id": f"doc-{uuid4()}",
                "caller": self._caller.id,
                "project": project,
                "author": author,
                "name": name,
                "trust": CALLER_TRUST if author == CALLER else AGENT_TRUST,
                "created_at": now,
            }
            change = insert(document).values(first | changed)
        return (await db.execute(change.returning(*document.c))).one()

    async def all(self) -> list[Document]:
        """Every document of the caller, oldest first."""
        mine = document.c.caller == self._caller.id
        async with self._record.read() as db:
            rows = await db.execute(select(document).where(mine).order_by(document.c.created_at, document.c.id))
            return [_document(row) for row in rows]

    async def text_of(self, document_id: str) -> str | None:
        """The document's whole text; None if the caller has no such document."""
        mine = (passage.c.caller == self._caller.id, passage.c.source == document_id, passage.c.kind == KNOWLEDGE)
        async with self._record.read() as db:
            parts = select(passage.c.text, passage.c.repeated).where(*mine).order_by(passage.c.ordinal)
            return "".join(row.text[row.repeated :] for row in await db.execute(parts)) or None

    async def delete_document(self, document_id: str) -> bool:
        """Delete the document, its passages, and its words from the indexes; False if the caller has none such.

        SQLite's indexes are written anew, so that no word of it stays in the file; that takes longer the more there is.
        In PostgreSQL's files the words stay, read by nobody, until the server's vacuum comes by.
        """
        async with self._record.write() as db:
            if await self._row(db, document_id) is None:
                return False
            in_file = db.dialect.name == "sqlite"
            if in_file:
                await db.execute(text("PRAGMA secure_delete=ON"))
            await db.execute(delete(document).where(document.c.id == document_id))
            await remove_passages(db, self._caller, document_id)
            for index in ("passage_words", "passage_parts") if in_file else ():
                await db.execute(text(f"INSERT INTO {index}({index}) VALUES ('optimize')"))  # noqa: S608 - our own names
        return True

    async def _named(self, db: AsyncConnection, project: str, author: str, name: str) -> Row[Any] | None:
        mine = (document.c.caller == self._caller.id, document.c.project == project)
        rows = await db.execute(select(document).where(*mine, document.c.author == author, document.c.name == name))
        return rows.one_or_none()

    async def _row(self, db: AsyncConnection, document_id: str) -> Row[Any] | None:
        mine = (document.c.caller == self._caller.id, document.c.id == document_id)
        return (await db.execute(select(document).where(*mine))).one_or_none()


async def add_passages(db: AsyncConnection, caller: Caller, origin: Origin, parts: Iterable[str | Piece]) -> None:
    """Write the passages of one source; the indexes follow."""
    common = {
        "caller": caller.id,
        "kind": origin.kind,
        "source": origin.source,
        "title": origin.title,
        "project": origin.project,
        "author": origin.author,
        "trust": origin.trust,
        "at": origin.at,
        "scope": origin.scope,
        "expires_at": origin.expires_at,
        "superseded_by": origin.superseded_by,
    }
    found = (part if isinstance(part, Piece) else Piece(part) for part in parts)
    rows = [
        {
            **common,
            "ordinal": n,
            "sha256": hashlib.sha256(one.text.encode()).hexdigest(),
            "text": one.text,
            "repeated": one.repeated,
        }
        for n, one in enumerate(found)
    ]
    await write_passages(db, rows)


async def write_passages(db: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the table of passages; the indexes follow."""
    if rows and db.dialect.name == "postgresql":
        made = await db.execute(insert(passage).returning(passage.c.id, passage.c.title, passage.c.text), rows)
        await postgres_index.write(db, {row.id: (row.title, row.text) for row in made})
    elif rows:
        await db.execute(insert(passage), rows)


async def remove_passages(db: AsyncConnection, caller: Caller, source: str) -> None:
    """Delete the passages of one source; the indexes follow."""
    await db.execute(delete(passage).where(passage.c.caller == caller.id, passage.c.source == source))


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise InvalidInput("the name is empty.", argument="name", next_step="Name it as it is to be cited.")
    if len(name) > MAX_NAME:
        raise OverLimit("name", len(name), MAX_NAME)
    return name


def check_text(content: str, limit: int) -> None:
    """InvalidInput for a text that is empty or no text, OverLimit for one that is too long."""
    if not content.strip():
        raise InvalidInput("the text is empty.", argument="text", next_step="Pass the text to share.")
    if len(content) > limit:
        raise OverLimit("text", len(content), limit, next_step="Share it in parts, each under a name of its own.")
    check_plain("text", content)


def check_plain(argument: str, content: str) -> None:
    """InvalidInput for what has characters that no text has, and that no database takes."""
    if "\0" in content or any("\ud800" <= c <= "\udfff" for c in content):
        raise InvalidInput(
            "it is not plain text: it has characters that no text has.",
            argument=argument,
            next_step="Convert it to plain text first.",
        )


def _document(row: Row[Any], *, changed: bool = True) -> Document:
    return Document(
        id=row.id,
        name=row.name,
        project=row.project or None,
        author=row.author,
        chars=row.chars,
        chunks=row.chunks,
        revision=row.revision,
        changed=changed,
        updated_at=row.updated_at,
    )
