"""What an agent does to its blocks in one turn: carried out here, or found afterwards, and recorded as its own.

The embedded Letta carries the core-memory tools out itself and makes all of a turn's changes real at its end: they are
read back when the turn's calls say that there are any. What somebody else wrote meanwhile is told apart by taking the
agent's changes out of the value. Letta's own servers enforce no limits and keep no history: there ATLAS offers the
tools itself and carries them out, each once, also when the turn is taken up again after a crash.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
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

        def change(value: str, limit: int) -> tuple[Operation, str]:
            after = value if made_before else asked.applied(value)
            check_limit("new_string", value, after, limit)
            return asked.operation, after

        author = Author(self._author, tool=name, turn_id=self._turn_id)
        with span(f"execute_tool {name}", kind="TOOL", inputs=dict(arguments), author=self._author):
            block = await self._blocks.change(self._kept, asked.label, change, author)
        self._again = False  # only the call that a crash interrupted is in doubt
        return f"{block.label} now has {block.chars:,} of at most {block.limit:,} characters:\n{block.value}"

    async def changes(self, calls: Sequence[ToolCall]) -> list[MemoryChange]:
        """What the turn with these calls changed. Asks nobody when none of them was a memory tool."""
        if not any(call.name in CORE_TOOLS for call in calls):
            return []
        if self._by_letta:
            made = {label: some for label, some in made_by(calls).items() if label in self._kept.blocks}
            with span("memory changed", kind="MEMORY", inputs={"agent": self._kept.name, "labels": list(made)}):
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
        last, before_last = await self._newest(state.id)
        was, now = last.value if last else "", state.value
        if last and last.turn_id == self._turn_id:
            return  # recorded before a crash
        after, before = all_applied(changes, was), all_undone(changes, now)
        if now == was == after:
            return
        mine = Revision(state.id, now, changes[-1].operation, self._author, changes[-1].tool, self._turn_id)
        others = self._blocks.others_write(self._kept, state.label, beside=1)
        if last and now == was and last.author == ELSEWHERE and all_applied(changes, before_last) == now:
            await self._claim(last, mine)  # somebody read the block before the turn was done
        elif after in {now, None} or now == was:
            await self._add(mine)
        elif others or before is None:
            await self._add(replace(mine, value=after or now))
            if not others:
                await self._add(Revision(state.id, now, "elsewhere", ELSEWHERE))
        else:
            await self._add(Revision(state.id, before, "elsewhere", ELSEWHERE), mine)

    async def _made_before(self, asked: Change) -> bool:
        """Whether the call was carried out before a crash: then the block's newest value is what it makes of the one
        before, made in this turn, or by somebody who is not in the record because the crash came before that.
        """
        block_id = self._kept.blocks[asked.label].letta_id
        async with self._locks.hold(block_lock(block_id)):
            await self._blocks.read_noted(block_id)
            last, before = await self._newest(block_id)
            if last is None or all_applied([asked], before) != last.value:
                return False
            if last.author == ELSEWHERE:
                mine = replace(last, author=self._author, operation=asked.operation, tool=asked.tool)
                await self._claim(last, replace(mine, turn_id=self._turn_id))
                return True
            return (last.turn_id, last.tool) == (self._turn_id, asked.tool)

    async def _newest(self, block_id: str) -> tuple[Revision | None, str]:
        """The block's newest revision, and the value of the one before."""
        async with self._record.read() as db:
            newest = await revisions.history(db, self._caller, block_id, most=2)
        return (newest[0] if newest else None), (newest[1].value if len(newest) > 1 else "")

    async def _claim(self, found: Revision, mine: Revision) -> None:
        async with self._record.write() as db:
            await revisions.claim(db, self._caller, found, mine)

    async def _add(self, *made: Revision) -> None:
        async with self._record.write() as db:
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
