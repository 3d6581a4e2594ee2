"""Core memory: reading blocks, changing them, and knowing who changed what.

Promise: two changes of one block never lose each other here: reading the value, changing it and writing its revision
happen under the block's lock. A limit is enforced on every Letta. A value that nobody here wrote is recorded as a
revision by `elsewhere` before anything else is done to the block, so no value is ever overwritten unrecorded. A refused
change changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from atlas_mcp.constellation import revisions
from atlas_mcp.constellation.changes import changed_value
from atlas_mcp.constellation.names import block_lock, busy_marks
from atlas_mcp.errors import LettaLost, StaleRevision, UnknownBlock
from atlas_mcp.model.memory import Block, MemoryChange, Replacement
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.constellation.agent_rows import KeptAgent, KeptBlock
    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.constellation.revisions import Revision
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState, ToolCall
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_T = TypeVar("_T")

_OPERATIONS: dict[str, Operation] = {
    "memory_insert": "append",
    "memory_replace": "replace",
    "core_memory_append": "append",
    "core_memory_replace": "replace",
    "memory_rethink": "value",
    "rethink_memory": "value",
}
"""Letta's tools that change blocks; each names the block in its argument `label`."""


class Blocks:
    """One caller's blocks."""

    def __init__(
        self, caller: Caller, roster: Roster, keeper: Keeper, letta: Letta, record: Record, locks: Locks
    ) -> None:
        self._caller = caller
        self._roster = roster
        self._keeper = keeper
        self._letta = letta
        self._record = record
        self._locks = locks

    async def get(self, agent: str, label: str | None = None) -> list[Block]:
        """The agent's blocks in the roster's order, or the one with that label. UnknownAgent, UnknownBlock."""
        self._roster.agent(agent)
        if label is not None:
            self._known(agent, label)

        async def look(kept: KeptAgent) -> tuple[KeptAgent, dict[str, BlockState], dict[str, Revision]]:
            states = await self.read(kept)
            return kept, states, await self.notice(kept, states)

        kept, states, noted = await self._kept_or_anew(agent, look)
        labels = [b.label for b in self._roster.blocks if label in (None, b.label) and b.label in states]
        return [self._shown(agent, kept.blocks[name], states[name], noted.get(name)) for name in labels]

    async def update(
        self,
        agent: str,
        label: str,
        *,
        value: str | None = None,
        append: str | None = None,
        replace: Replacement | None = None,
        expected_revision: int | None = None,
        author: str = "caller",
    ) -> Block:
        """Change the block by exactly one of the three; the block as it now stands.

        Raises UnknownAgent, UnknownBlock, StaleRevision, OverLimit, or InvalidInput when not exactly one change is
        given or `replace.old` does not occur exactly once.
        """
        self._roster.agent(agent)
        self._known(agent, label)

        async def change(kept: KeptAgent) -> Block:
            block = kept.blocks[label]
            async with self._locks.hold(block_lock(block.letta_id)):
                state = await self._letta.block(block.letta_id)
                now = await self._noted(block.letta_id, state.value)
                if expected_revision is not None and expected_revision != now.number:
                    raise StaleRevision(label, expected_revision, now.number)
                operation, after = changed_value(state.value, block.limit, value=value, append=append, replace=replace)
                if after != state.value:
                    state = await self._letta.set_block(block.letta_id, after)
                    now = await self._add(block.letta_id, after, operation, author)
            return self._shown(agent, block, state, now)

        inputs = {"agent": agent, "label": label, "value": value, "append": append, "replace": replace}
        with span("update memory", kind="MEMORY", inputs=inputs, author=author) as opened:
            block = await self._kept_or_anew(agent, change)
            outputs(opened, {"revision": block.revision, "chars": block.chars})
        return block

    async def read(self, kept: KeptAgent) -> dict[str, BlockState]:
        """The agent's blocks as Letta has them, by label."""
        return {b.label: b for b in await self._letta.blocks(kept.letta_id) if b.label in kept.blocks}

    async def notice(self, kept: KeptAgent, states: dict[str, BlockState]) -> dict[str, Revision]:
        """The newest revision of each block by label, after recording what was changed elsewhere.

        What another agent's turn is just writing into a shared block is left for that turn to record.
        """
        async with self._record.read() as db:
            known = await revisions.latest(db, self._caller, [b.id for b in states.values()])
        noted: dict[str, Revision] = {}
        for label, state in states.items():
            last = known.get(state.id)
            if last is None or (last.value != state.value and not (kept.blocks[label].shared and self._anyone_busy())):
                async with self._locks.hold(block_lock(state.id)):
                    last = await self._noted(state.id, (await self._letta.block(state.id)).value)
            noted[label] = last
        return noted

    async def before_turn(self, kept: KeptAgent, *, fresh: bool) -> dict[str, str]:
        """The values that the turn begins with, by label. For a turn that may have run before, those recorded last."""
        states = await self.read(kept)
        if fresh:
            await self.notice(kept, states)
            return {label: state.value for label, state in states.items()}
        async with self._record.read() as db:
            known = await revisions.latest(db, self._caller, [b.id for b in states.values()])
        return {label: known[b.id].value if b.id in known else b.value for label, b in states.items()}

    async def record_turn(
        self, kept: KeptAgent, before: dict[str, str], calls: Sequence[ToolCall], turn_id: str
    ) -> list[MemoryChange]:
        """Record what the agent changed in its turn, by its memory tools; what else changed was changed elsewhere."""
        touched: dict[str, Operation] = {
            str(c.arguments.get("label")): _OPERATIONS[c.name] for c in calls if c.ok and c.name in _OPERATIONS
        }
        if not calls:
            return []
        after = await self.read(kept)
        author = f"agent:{kept.name}"
        changes: list[MemoryChange] = []
        for label, state in after.items():
            was = before.get(label, "")
            if label in touched and state.value != was:
                with span("memory changed", kind="MEMORY", inputs={"agent": kept.name, "label": label}, author=author):
                    async with self._locks.hold(block_lock(state.id)):
                        now = await self._letta.block(state.id)
                        operation = touched[label]
                        made = await self._add(state.id, now.value, operation, author, turn_id)
                changes.append(_change(kept.name, label, made, was))
        await self.notice(kept, {n: s for n, s in after.items() if n not in touched and not kept.blocks[n].shared})
        return changes

    async def _noted(self, block_id: str, value: str) -> Revision:
        """The newest revision, which has this value; recorded as changed elsewhere if it had not. Under the lock."""
        async with self._record.read() as db:
            last = (await revisions.latest(db, self._caller, [block_id])).get(block_id)
        if last is not None and last.value == value:
            return last
        if last is None:
            return await self._add(block_id, value, "created", "elsewhere")
        return await self._add(block_id, value, "elsewhere", "elsewhere")

    async def _add(
        self, block_id: str, value: str, operation: Operation, author: str, turn_id: str | None = None
    ) -> Revision:
        async with self._record.write() as db:
            return await revisions.add(db, self._caller, block_id, value, operation, author, turn_id=turn_id)

    async def _kept_or_anew(self, agent: str, do: Callable[[KeptAgent], Awaitable[_T]]) -> _T:
        """Do it with the agent; when Letta has lost the agent or a block, once more with what was made in its place."""
        kept = await self._keeper.agent(agent)
        try:
            return await do(kept)
        except LettaLost:
            return await do(await self._keeper.agent(agent, lost=kept.letta_id))

    def _known(self, agent: str, label: str) -> None:
        labels = [b.label for b in self._roster.blocks]
        if label not in labels:
            raise UnknownBlock(label, agent, labels)

    def _anyone_busy(self) -> bool:
        return bool(self._locks.held_among(m for a in self._roster.agents for m in busy_marks(self._caller, a.name)))

    def _shown(self, agent: str, kept: KeptBlock, state: BlockState, now: Revision | None) -> Block:
        return Block(
            label=state.label,
            value=state.value,
            description=state.description,
            limit=kept.limit,
            chars=len(state.value),
            revision=now.number if now else 0,
            shared_with=[a.name for a in self._roster.agents if a.name != agent] if kept.shared else [],
            updated_at=now.at if now else None,
            author=now.author if now else "",
        )


def _change(agent: str, label: str, made: Revision, before: str) -> MemoryChange:
    return MemoryChange.model_validate(
        {
            "agent": agent,
            "label": label,
            "operation": made.operation,
            "author": made.author,
            "revision": made.number,
            "before": before,
            "after": made.value,
        }
    )
