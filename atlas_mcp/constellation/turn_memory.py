"""What an agent does to its blocks in one turn: carried out here, or found afterwards, and recorded as its own.

The embedded Letta carries the core-memory tools out itself and makes all of a turn's changes real at its end: they are
read back when the turn's calls say that there are any. What somebody else wrote meanwhile is told apart by taking the
agent's changes out of the value. Letta's own servers enforce no limits and keep no history: there ATLAS offers the
tools itself and carries them out, each once, also when the turn is taken up again after a crash.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from atlas_mcp.constellation import revisions
from atlas_mcp.constellation.changes import Author, check_limit
from atlas_mcp.constellation.core_memory import (
    CORE_SPECS,
    CORE_TOOLS,
    all_applied,
    all_undone,
    made_by,
    read_change,
)
from atlas_mcp.constellation.names import block_lock
from atlas_mcp.constellation.revisions import ELSEWHERE, Revision
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.memory import MemoryChange
from atlas_mcp.watch.spans import span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.blocks import Blocks
    from atlas_mcp.constellation.core_memory import Change
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState, ToolCall
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_LOOK_BACK = 8
"""So many revisions of a block may come between the end of a turn and the record of what it changed."""


class TurnMemory:
    """One agent's memory tools in one turn. `again`: the turn may have run before, up to a crash."""

    def __init__(
        self, caller: Caller, letta: Letta, record: Record, locks: Locks, blocks: Blocks,
        *, kept: KeptAgent, turn_id: str, again: bool,
    ) -> None:  # fmt: skip
        self._caller = caller
        self._record = record
        self._locks = locks
        self._blocks = blocks
        self._kept = kept
        self._turn_id = turn_id
        self._author = f"agent:{kept.name}"
        self._again = again
        self._known: set[tuple[str, int]] = set()  # revisions that stand for a call of this attempt
        self._by_letta = letta.kind == "embedded"

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """The tools that ATLAS carries out; none where the agent's Letta does."""
        return () if self._by_letta else CORE_SPECS

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Carry out one of the tools; how the block stands then. InvalidInput or ToolFailed tell the agent why not."""
        asked = read_change(name, arguments)
        if asked.label not in self._kept.blocks:
            labels = ", ".join(self._kept.blocks)
            raise ToolFailed(f"there is no memory block {asked.label!r}. Your blocks: {labels}.")
        made_before = self._again and await self._made_before(asked)
        if not made_before and self._blocks.entering and (why := self._blocks.entering.unkept(asked.new)):
            raise ToolFailed(why)

        def change(value: str, limit: int) -> tuple[Operation, str]:
            after = value if made_before else asked.applied(value)
            check_limit("new_string", value, after, limit)
            return asked.operation, after

        author = Author(self._author, tool=name, turn_id=self._turn_id)
        with span(f"execute_tool {name}", kind="TOOL", inputs=dict(arguments), author=self._author):
            block = await self._blocks.change(self._kept, asked.label, change, author)
        self._known.add((asked.label, block.revision))
        return f"{block.label} now has {block.chars:,} of at most {block.limit:,} characters:\n{block.value}"

    async def changes(self, calls: Sequence[ToolCall]) -> list[MemoryChange]:
        """What the turn with these calls changed. Asks nobody when none of them was a memory tool."""
        if not any(call.name in CORE_TOOLS for call in calls):
            return []
        if self._by_letta:
            made = {label: some for label, some in made_by(calls).items() if label in self._kept.blocks}
            inputs = {"agent": self._kept.name, "labels": list(made)}
            with span("memory changed", kind="MEMORY", inputs=inputs, atlas__memory__store="letta"):
                await self._record_what_letta_did(made)
        async with self._record.read() as db:
            rows = await revisions.of_turn(db, self._caller, self._turn_id)
        labels = {block.letta_id: label for label, block in self._kept.blocks.items()}
        return [self._told(labels[row.block_id], row, before) for row, before in rows if row.block_id in labels]

    async def _record_what_letta_did(self, made: Mapping[str, Sequence[Change]]) -> None:
        async with AsyncExitStack() as held:
            for block_id in sorted(self._kept.blocks[label].letta_id for label in made):
                await held.enter_async_context(self._locks.hold(block_lock(block_id)))
            states = await self._blocks.read(self._kept)
            for label, changes in made.items():
                if label in states:
                    await self._attribute(states[label], changes)
        await self._blocks.notice(self._kept, {n: s for n, s in states.items() if n not in made})

    async def _attribute(self, state: BlockState, changes: Sequence[Change]) -> None:
        """Record the agent's part in the block's value as the agent's, and the rest as made elsewhere."""
        newest = await self._newest(state.id)
        was, now = newest[0].value if newest else "", state.value
        after, before = all_applied(changes, was), all_undone(changes, now)
        if now == was == after or any(one.turn_id == self._turn_id for one in newest):
            return  # nothing came of it, or it was recorded before a crash
        mine = Revision(state.id, now, changes[-1].operation, self._author, changes[-1].tool, self._turn_id)
        others = self._blocks.others_write(self._kept, state.label, beside=1)
        if seen := _seen_elsewhere(newest, changes):
            await self._claim(seen, mine)  # somebody read the block before the turn was recorded
        elif now in {after, was}:
            await self._add(mine)
        elif before is not None and not others:
            await self._add(Revision(state.id, before, "elsewhere", ELSEWHERE), mine)
        else:
            await self._add(replace(mine, value=now if after is None else after))
            if not others and after is not None:
                await self._add(Revision(state.id, now, "elsewhere", ELSEWHERE))

    async def _made_before(self, asked: Change) -> bool:
        """Whether the call was carried out before a crash: then one of the newest values is what the call makes of the
        one before, made in this turn, or by somebody who is not in the record because the crash came before that.
        """
        block_id = self._kept.blocks[asked.label].letta_id
        async with self._locks.hold(block_lock(block_id)):
            await self._blocks.read_noted(block_id)
            newest = await self._newest(block_id)
            if seen := _seen_elsewhere(newest[:2], [asked]):
                mine = replace(seen, author=self._author, operation=asked.operation, tool=asked.tool)
                await self._claim(seen, replace(mine, turn_id=self._turn_id))
                return True
            for made, before in pairwise(newest):
                ours = (made.turn_id, made.tool) == (self._turn_id, asked.tool)
                one = (asked.label, made.number)
                if ours and one not in self._known and all_applied([asked], before.value) == made.value:
                    self._known.add(one)
                    return True
            return False

    async def _newest(self, block_id: str) -> list[Revision]:
        async with self._record.read() as db:
            return await revisions.history(db, self._caller, block_id, most=_LOOK_BACK)

    async def _claim(self, found: Revision, mine: Revision) -> None:
        async with self._record.write(self._caller.id) as db:
            await revisions.claim(db, self._caller, found, mine)

    async def _add(self, *made: Revision) -> None:
        async with self._record.write(self._caller.id) as db:
            for one in made:
                await revisions.add(db, self._caller, one)

    def _told(self, label: str, made: Revision, before: str) -> MemoryChange:
        return MemoryChange(
            agent=self._kept.name,
            label=label,
            operation=made.operation,
            author=made.author,
            revision=made.number,
            before=before,
            after=made.value,
        )


def _seen_elsewhere(newest: Sequence[Revision], changes: Sequence[Change]) -> Revision | None:
    """The revision that was taken for somebody else's, and is what these changes make of the one before it."""
    for found, before in pairwise(newest):
        if found.author == ELSEWHERE and all_applied(changes, before.value) == found.value:
            return found
    return None
