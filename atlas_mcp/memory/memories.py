"""What one caller's agents, runs and the caller keep in mind: short texts with an author, a source, a trust, a history.

Promise: a memory is there whole or not at all, with its revision and the passages that it is searched by. The same text
again adds its source; another text under the same key takes the older one's place, which says so. What has expired is
never given, whether it was deleted already or not. Every change can be taken back. Every query is bound to one caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, text

from atlas_mcp.errors import InvalidInput, StaleRevision, UnknownMemory
from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.memory.documents import check_text
from atlas_mcp.memory.keeping import checked, keep
from atlas_mcp.memory.taking_back import become_current, undo, undo_run
from atlas_mcp.model.knowledge import CALLER_TRUST
from atlas_mcp.model.memory_item import CALLER, MAX_LISTED, MAX_MEMORY, MemoryItem, New
from atlas_mcp.model.memory_kinds import LIFETIMES, NoteKind
from atlas_mcp.store.memory_tables import CURRENT, memory, memory_revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record


class Memories:
    """One caller's memories."""

    def __init__(self, caller: Caller, record: Record) -> None:
        self.caller = caller
        self._record = record

    async def add(self, new: New) -> MemoryItem:
        """Keep something in mind, from this commit on; the memory as it then stands, which may be an older one's.

        Raises InvalidInput for a text that is empty or no text and for a scope that is none, OverLimit.
        """
        return (await self.add_all([new]))[0]

    async def add_all(self, news: Sequence[New]) -> list[MemoryItem]:
        """As `add`, all of them in one commit."""
        given = [checked(new) for new in news]
        async with self._record.write(self.caller.id) as db:
            return [rows.as_item(await keep(db, self.caller, new)) for new in given]

    async def get(self, memory_id: str, *, history: bool = False) -> MemoryItem:
        """The memory of that id, with its revisions if asked for. UnknownMemory."""
        async with self._record.read() as db:
            row = await self._row(db, memory_id)
            return rows.as_item(row, await rows.revisions(db, self.caller, row.id) if history else None)

    async def list(
        self,
        *,
        kinds: Sequence[NoteKind] | None = None,
        scope: str | None = None,
        project: str | None = None,
        author: str | None = None,
        run_id: str | None = None,
        everything: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> list[MemoryItem]:
        """The memories, newest first, from the one after `after` on; `run_id`: those that the run stored or changed.

        With `everything` also what was refused, taken back or superseded. InvalidInput, UnknownMemory.
        """
        if not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"{limit} is not between 1 and {MAX_LISTED}.", argument="limit", next_step="Call again.")
        wanted: list[Any] = [memory.c.caller == self.caller.id, rows.living()]
        wanted += [] if everything else [text(CURRENT)]
        wanted += [memory.c.kind.in_(kinds)] if kinds else []
        given = {"scope": scope, "project": project, "author": author}
        wanted += [memory.c[name] == value for name, value in given.items() if value is not None]
        if run_id is not None:
            mine = (memory_revision.c.caller == self.caller.id, memory_revision.c.run_id == run_id)
            wanted.append(memory.c.id.in_(select(memory_revision.c.memory).where(*mine)))
        async with self._record.read() as db:
            if after is not None:
                last = await self._row(db, after)
                older = and_(memory.c.created_at == last.created_at, memory.c.id < last.id)
                wanted.append(or_(memory.c.created_at < last.created_at, older))
            newest = (memory.c.created_at.desc(), memory.c.id.desc())
            found = await db.execute(select(memory).where(*wanted).order_by(*newest).limit(limit))
            return [rows.as_item(row) for row in found]

    async def correct(self, memory_id: str, content: str, *, expected_revision: int | None = None) -> MemoryItem:
        """Give the memory another text, as the caller's own: from now on it counts as what the caller said.

        What had been refused or taken back is remembered with it. Raises UnknownMemory, InvalidInput for a text that is
        empty or no text and for a memory that another took the place of, OverLimit, StaleRevision.
        """
        check_text(content, MAX_MEMORY)
        async with self._record.write(self.caller.id) as db:
            row = await self._row(db, memory_id)
            if expected_revision is not None and expected_revision != row.revision:
                raise StaleRevision(row.id, expected_revision, row.revision, memory=True)
            if row.superseded_by is not None:
                raise InvalidInput(
                    f"{row.superseded_by} took its place.",
                    argument="id",
                    next_step=f'Correct that one, or take it back first with undo_memory(id="{row.superseded_by}").',
                )
            if row.reason:
                await become_current(db, self.caller, row)
            elif (row.text, row.author) == (content, CALLER):
                return rows.as_item(row)
            now: dict[str, Any] = {"text": content, "author": CALLER, "trust": CALLER_TRUST, "reason": ""}
            until = rows.lasting(LIFETIMES[row.kind])
            return rows.as_item(await rows.revise(db, self.caller, row, "corrected", expires_at=until, **now))

    async def undo(self, memory_id: str, revision: int | None = None) -> MemoryItem:
        """Take the memory's last change back, or give it the text of that revision again, as a new revision.

        One that was never changed is remembered no more, and what it had taken the place of is again; doing the same
        once more brings it back, as long as it is kept. Raises UnknownMemory, UnknownRevision, InvalidInput.
        """
        async with self._record.write(self.caller.id) as db:
            row = await self._row(db, memory_id)
            return rows.as_item(await undo(db, self.caller, row, revision))

    async def undo_run(self, run_id: str) -> list[MemoryItem]:
        """Take back all that the run stored and changed, but for what was changed since; what was, as it now stands."""
        async with self._record.write(self.caller.id) as db:
            return [rows.as_item(row) for row in await undo_run(db, self.caller, run_id)]

    async def _row(self, db: AsyncConnection, memory_id: str) -> Row[Any]:
        if (row := await rows.find(db, self.caller, memory_id)) is None:
            raise UnknownMemory(memory_id)
        return row
