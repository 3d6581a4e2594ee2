"""What a caller does with what is remembered: `Atlas.memories`.

Keeping, listing, correcting and taking back: one memory or fact by its id, or all that a run stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import UnknownMemory
from atlas_mcp.model.memory_item import MemoryItem, New, Undone
from atlas_mcp.model.memory_kinds import EVERYBODY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from atlas_mcp._groups import Groups
    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.memory.memories import Memories
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Block
    from atlas_mcp.model.memory_kinds import NoteKind


class Remembering:
    """The memories of one home's callers. Every method takes the caller first, and gives nobody another's."""

    def __init__(self, keeper: RoomsKeeper, groups: Groups) -> None:
        self._keeper = keeper
        self._groups = groups

    async def remember(
        self,
        caller: Caller,
        text: str,
        *,
        kind: NoteKind = "long_term",
        about: str = "",
        scope: str = EVERYBODY,
        project: str | None = None,
        key: str | None = None,
        lifetime: timedelta | None = None,
    ) -> MemoryItem:
        """Keep a text in mind, as what the caller says; the memory as it then stands.

        The same text again is kept once; another text under the same `key` takes the older one's place. Raises
        InvalidInput for a text that is empty or no text, OverLimit, and UnknownAgent or UnknownTeam for a scope.
        """
        whose, _, name = scope.partition(":")
        if name:
            roster = await self._groups.roster(caller)
            roster.agent(name) if whose == "agent" else roster.team(name) if whose == "team" else None
        new = New(
            kind=kind, text=text, about=about, scope=scope, project=project or "", key=key, lifetime=lifetime,
        )  # fmt: skip
        return await (await self._of(caller)).add(new)

    async def list(
        self,
        caller: Caller,
        *,
        kinds: Sequence[NoteKind] | None = None,
        agent: str | None = None,
        scope: str | None = None,
        project: str | None = None,
        run_id: str | None = None,
        everything: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> list[MemoryItem]:
        """The caller's memories, newest first, from the one after `after` on: those that the agent wrote, that are for
        that scope, of that project, that the run stored or changed. With `everything` also what was refused, taken back
        or superseded. Raises InvalidInput, UnknownAgent, UnknownMemory.
        """
        if agent is not None:
            await self._groups.check_agent(caller, agent)
        return await (await self._of(caller)).list(
            kinds=kinds, scope=scope, project=project, author=f"agent:{agent}" if agent else None, run_id=run_id,
            everything=everything, limit=limit, after=after,
        )  # fmt: skip

    async def get(self, caller: Caller, memory_id: str) -> MemoryItem:
        """One memory with its history. UnknownMemory."""
        return await (await self._of(caller)).get(memory_id, history=True)

    async def correct(
        self, caller: Caller, memory_id: str, text: str, *, expected_revision: int | None = None
    ) -> MemoryItem:
        """Give a memory another text, as the caller's. UnknownMemory, InvalidInput, OverLimit, StaleRevision."""
        return await (await self._of(caller)).correct(memory_id, text, expected_revision=expected_revision)

    async def undo(self, caller: Caller, item_id: str, revision: int | None = None) -> Undone:
        """Take back the last change of a memory, or give it an earlier text again; or take back a fact, by its id.

        UnknownMemory, UnknownRevision, InvalidInput.
        """
        rooms = await self._keeper.rooms()
        item_id = item_id.rsplit("/", 1)[0]  # a search names passages of it
        try:
            return Undone(memories=[await (await self._of(caller)).undo(item_id, revision)])
        except UnknownMemory:
            async with rooms.record.write(caller.id) as db:
                if facts := await rooms.memory.facts(caller).undo(db, item_id):
                    return Undone(facts=facts)
            raise

    async def undo_run(self, caller: Caller, run_id: str) -> Undone:
        """Take back all that the run stored and nobody changed since: memories, facts, and changes of agents' blocks.

        UnknownRun where there is neither such a run nor anything of it; LettaUnavailable for blocks that cannot be
        reached: then they are as they were, and calling again goes on.
        """
        from atlas_mcp.memory.memory_rows import as_item
        from atlas_mcp.memory.taking_back import undo_run

        rooms = await self._keeper.rooms()
        blocks = await _undo_blocks(rooms, caller, run_id)
        async with rooms.record.write(caller.id) as db:
            memories = [as_item(row) for row in await undo_run(db, caller, run_id)]
            facts = await rooms.memory.facts(caller).undo_run(db, run_id)
        if not (blocks or memories or facts):
            await rooms.runs.get(caller, run_id, since=0, wait_seconds=0)
        return Undone(memories=memories, facts=facts, blocks=blocks)

    async def _of(self, caller: Caller) -> Memories:
        return (await self._keeper.rooms()).memory.memories(caller)


async def _undo_blocks(rooms: Rooms, caller: Caller, run_id: str) -> list[Block]:
    from atlas_mcp.constellation import revisions

    async with rooms.record.read() as db:
        before = await revisions.before_run(db, caller, run_id)
    if not before:
        return []
    agents = await rooms.constellation(caller)
    return [await agents.undo_memory(agent, label, number) for agent, label, number in before]
