"""The blocks that agents of one constellation share, all of them or a group: created once, and never shared further."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp.constellation import revisions
from atlas_mcp.constellation.agent_rows import SHARED, KeptBlock, read_blocks, write_blocks
from atlas_mcp.constellation.names import CALLER_TAG, shared_lock, tags
from atlas_mcp.constellation.revisions import Revision
from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.states import NewBlock

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState
    from atlas_mcp.model.agent import BlockSpec, Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


class SharedBlocks:
    """One caller's shared blocks."""

    def __init__(self, caller: Caller, roster: Roster, letta: Letta, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._roster = roster
        self._letta = letta
        self._record = record
        self._locks = locks

    async def ensure(self, agent: str) -> dict[str, KeptBlock]:
        """The blocks that the agent shares, as they now are in Letta, by label; what is missing there is created.

        A block that Letta lost is created again with the last value that the record knows. A block's limit never
        shrinks below what the block holds.
        """
        specs = [b for b in self._roster.blocks_of(agent) if b.shared]
        if not specs:
            return {}
        async with self._locks.hold(shared_lock(self._caller)):
            async with self._record.read() as db:
                kept = await read_blocks(db, self._caller, self._letta.name, (SHARED,))
                known = await revisions.latest(db, self._caller, [b.letta_id for b in kept.values()])
            states = {s.label: await self._state(s, kept.get(s.label), known) for s in specs}
            now = {label: KeptBlock(label, s.id, s.limit, shared=True) for label, s in states.items()}
            if any(kept.get(label) != block for label, block in now.items()):
                async with self._record.write() as db:
                    await write_blocks(db, self._caller, self._letta.name, SHARED, list({**kept, **now}.values()))
                    for label, state in states.items():
                        await self._record_created(db, state, kept.get(label))
            return now

    async def _state(self, spec: BlockSpec, kept: KeptBlock | None, known: dict[str, Revision]) -> BlockState:
        value = spec.value
        if kept:
            try:
                state = await self._letta.block(kept.letta_id)
                if not is_anothers(state, self._caller):
                    return await fit_block(self._letta, state, spec)
                log.error("block %s is another caller's and was not shared; %s is made anew", state.id, spec.label)
            except LettaLost:
                log.warning("the shared block %s is no longer in Letta", spec.label)
            value = known[kept.letta_id].value if kept.letta_id in known else value
        return await self._letta.create_block(new_block(spec, value), tags=tags(self._caller))

    async def _record_created(self, db: AsyncConnection, state: BlockState, before: KeptBlock | None) -> None:
        author = "roster"
        if before and before.letta_id != state.id and await revisions.move(db, self._caller, before.letta_id, state.id):
            author = "atlas"
        elif await revisions.latest(db, self._caller, [state.id]):
            return
        await revisions.add(db, self._caller, Revision(state.id, state.value, "created", author))


def is_anothers(state: BlockState, caller: Caller) -> bool:
    """Whether the block in Letta carries another caller's mark: then it is never attached, whatever is recorded."""
    marks = [tag for tag in state.tags if tag.startswith(CALLER_TAG)]
    return bool(marks) and not set(marks) <= set(tags(caller))


def new_block(spec: BlockSpec, value: str) -> NewBlock:
    """The block to be created, with that value; its limit is never below what it begins with."""
    return NewBlock(spec.label, value, max(spec.limit, len(value)), spec.description, spec.read_only)


async def fit_block(letta: Letta, state: BlockState, spec: BlockSpec) -> BlockState:
    """Give the block the limit, description and protection of the roster, if it has others."""
    limit = max(spec.limit, len(state.value))
    if (state.limit, state.description, state.read_only) == (limit, spec.description, spec.read_only):
        return state
    return await letta.reshape_block(state.id, limit=limit, description=spec.description, read_only=spec.read_only)
