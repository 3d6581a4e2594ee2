"""The blocks that belong to one agent alone: what they begin with, what they keep, and what the roster changes in them.

Promise: what the agent and its caller wrote is kept. Only a persona that changed in the roster takes the old one's
place, after whatever stood there is in the history. A block made anew begins with the value recorded last and takes the
lost one's history over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.constellation import revisions
from atlas_mcp.constellation.agent_rows import KeptBlock
from atlas_mcp.constellation.names import block_lock, tags
from atlas_mcp.constellation.revisions import Revision
from atlas_mcp.constellation.shared import fit_block, new_block

if TYPE_CHECKING:
    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import AgentState, BlockState, NewBlock
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

PERSONA, ROSTER = "persona", "roster"


class OwnBlocks:
    """One caller's agents' own blocks."""

    def __init__(self, caller: Caller, roster: Roster, letta: Letta, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._specs = [b for b in roster.blocks if not b.shared]
        self._letta = letta
        self._record = record
        self._locks = locks

    async def first(self, spec: AgentSpec, lost: KeptAgent | None) -> tuple[NewBlock, ...]:
        """The blocks for a new agent: with what those of the one it replaces held last, as far as the record knows."""
        values = self._of_roster(spec) | (await self._last_values(lost, spec) if lost else {})
        return tuple(new_block(b, values[b.label]) for b in self._specs)

    async def settle(self, state: AgentState, spec: AgentSpec, before: KeptAgent | None) -> dict[str, KeptBlock]:
        """Make the agent's own blocks in Letta what they should be, with their history; by label."""
        has = {b.label: b for b in state.blocks}
        missing = [b for b in await self.first(spec, before) if b.label not in has]
        own = {b.label: await fit_block(self._letta, has[b.label], b) for b in self._specs if b.label in has}
        for block in missing:
            own[block.label] = await self._letta.create_block(block, tags=tags(self._caller, state.name))
            await self._letta.attach_block(state.id, own[block.label].id)
        await self._record_created(own, spec, before)
        await self._bring_persona(own[PERSONA].id, spec.persona)
        return {label: KeptBlock(label, b.id, b.limit, shared=False) for label, b in own.items()}

    async def _record_created(self, own: dict[str, BlockState], spec: AgentSpec, before: KeptAgent | None) -> None:
        lost, given = before.blocks if before else {}, self._of_roster(spec)
        async with self._record.write() as db:
            known = await revisions.latest(db, self._caller, [b.id for b in own.values()])
            for label, block in own.items():
                if block.id in known:
                    continue
                author = ROSTER
                if label in lost and await revisions.move(db, self._caller, lost[label].letta_id, block.id):
                    author = ROSTER if block.value == given[label] else "atlas"
                await revisions.add(db, self._caller, Revision(block.id, block.value, "created", author))

    async def _bring_persona(self, block_id: str, persona: str) -> None:
        """Put the roster's persona in place if the roster has changed it since it was last put there."""
        async with self._locks.hold(block_lock(block_id)):
            if await self._given_by_roster(block_id) in {None, persona}:
                return
            state = await self._letta.block(block_id)
            await revisions.noted(self._record, self._caller, block_id, state.value)
            await self._letta.set_block(block_id, persona, version=state.version)
            async with self._record.write() as db:
                await revisions.add(db, self._caller, Revision(block_id, persona, "value", ROSTER))

    async def _last_values(self, lost: KeptAgent, spec: AgentSpec) -> dict[str, str]:
        own = {label: b.letta_id for label, b in lost.blocks.items() if not b.shared}
        async with self._record.read() as db:
            known = await revisions.latest(db, self._caller, own.values())
        values = {label: known[block_id].value for label, block_id in own.items() if block_id in known}
        if PERSONA in own and await self._given_by_roster(own[PERSONA]) != spec.persona:
            values[PERSONA] = spec.persona
        return values

    async def _given_by_roster(self, persona_id: str) -> str | None:
        async with self._record.read() as db:
            return await revisions.last_value_by(db, self._caller, persona_id, ROSTER)

    def _of_roster(self, spec: AgentSpec) -> dict[str, str]:
        return {b.label: b.value for b in self._specs} | {PERSONA: spec.persona}
