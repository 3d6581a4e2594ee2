"""Copies of the shared documents in a folder of the caller's Letta, for agents and people who look there.

The record has the documents; the copies can be thrown away. Promise: a copy is made, renewed and removed after its
document, by one process at a time, and what failed is done at the next occasion: its reason stands in the record. The
embedded Letta has no folders, and is not asked.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_mcp.constellation.agent_rows import read_agents
from atlas_mcp.constellation.names import caller_hash
from atlas_mcp.errors import LettaLost, LettaUnavailable
from atlas_mcp.memory import copies
from atlas_mcp.memory.copies import Folder, Stale
from atlas_mcp.watch.spans import span

if TYPE_CHECKING:
    from atlas_mcp.constellation.library import Library
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)
_ABOUT = "What is shared with all agents of an ATLAS constellation. ATLAS keeps it; changes made here are lost."
_NAME_CHARS = 120


class FolderCopies:
    """One caller's copies on one Letta."""

    def __init__(self, letta: Letta, record: Record, locks: Locks, library: Library) -> None:
        self._caller = library.caller
        self._documents = library.documents
        self._letta = letta
        self._record = record
        self._locks = locks

    @property
    def possible(self) -> bool:
        """Whether this Letta has folders."""
        return self._letta.kind != "embedded" and self._letta.abilities.folders

    async def catch_up(self) -> bool:
        """Bring folder and copies up to date; whether nothing is left to do."""
        if not self.possible or not await self._is_needed():
            return True
        held = self._locks.try_hold(f"folder-{self._caller.id}-{self._letta.name}")
        if held is None:
            return False
        with (
            held,
            span("copy knowledge to Letta", "MEMORY", {"server": self._letta.name}, atlas__memory__store="letta"),
        ):
            try:
                return await self._done()
            except LettaLost:
                log.warning("Letta has lost the folder of the shared knowledge; it is made anew")
                async with self._record.write() as db:
                    await copies.forget_folder(db, self._caller, self._letta.name)
                return await self._done()

    async def _is_needed(self) -> bool:
        async with self._record.read() as db:
            where = (self._caller, self._letta.name)
            if await copies.stale(db, *where) or await copies.orphans(db, *where):
                return True
            folder = await copies.read_folder(db, *where)
            return folder is not None and {a.letta_id for a in await read_agents(db, *where)} != set(folder.agents)

    async def _done(self) -> bool:
        folder = await self._shared_folder()
        async with self._record.read() as db:
            old = await copies.stale(db, self._caller, self._letta.name)
            gone = await copies.orphans(db, self._caller, self._letta.name)
        for document_id, file_id in gone.items():
            if file_id:
                await self._letta.knowledge.remove_file(folder.letta_id, file_id)
            async with self._record.write() as db:
                await copies.drop_copy(db, self._caller, self._letta.name, document_id)
        done = [await self._copied(folder, one) for one in old]
        return all(done)

    async def _shared_folder(self) -> Folder:
        """The folder, which all agents that there are read."""
        async with self._record.read() as db:
            agents = [a.letta_id for a in await read_agents(db, self._caller, self._letta.name)]
            known = await copies.read_folder(db, self._caller, self._letta.name)
        name = f"atlas-knowledge-{caller_hash(self._caller)}"
        folder = known or Folder(await self._letta.knowledge.folder(name, _ABOUT), ())
        attached = [a for a in agents if a in folder.agents or await self._attached(a, folder)]
        now = replace(folder, agents=tuple(attached))
        if now != known:
            async with self._record.write() as db:
                await copies.write_folder(db, self._caller, self._letta.name, now)
        return now

    async def _attached(self, agent_id: str, folder: Folder) -> bool:
        """Let the agent read the folder; False if it is Letta's no more."""
        try:
            await self._letta.knowledge.attach_folder(agent_id, folder.letta_id)
        except LettaLost:
            try:
                await self._letta.agent(agent_id)
            except LettaLost:
                return False
            raise  # the agent is there, so it is the folder that is not
        return True

    async def _copied(self, folder: Folder, one: Stale) -> bool:
        text = await self._documents.text_of(one.document)
        if text is None:
            return True  # deleted since
        file: str | None = None
        problem: str | None = None
        try:
            file = await self._letta.knowledge.put_file(folder.letta_id, _file_name(one), text, folder.agents)
        except LettaLost:
            raise
        except LettaUnavailable as failure:
            problem = str(failure)
            log.warning("%r is not in Letta's folder yet: %s", one.name, failure)
        async with self._record.write() as db:
            await copies.write_copy(db, self._caller, self._letta.name, one, letta_file=file, problem=problem)
        return file is not None


def _file_name(one: Stale) -> str:
    """A name that tells two documents of the same name apart, the same for every revision of one."""
    plain = "".join(c if c.isalnum() or c in " -_." else "_" for c in one.name[:_NAME_CHARS]).strip(". ")
    return f"{plain or 'document'} {one.document.removeprefix('doc-')[:8]}.txt"
