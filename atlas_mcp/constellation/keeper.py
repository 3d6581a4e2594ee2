"""The keeper of one caller's agents: creates them in Letta when first needed, once, and finds them again.

Promise: an agent is created at most once for its caller, also by several processes at once, and also when a process
died between Letta and the record (the agent is found by its tags). While the roster's description of an agent is
unchanged, Letta is not asked. What changed there is brought up to date, and what the agent and its caller wrote into
its blocks is kept; only a persona that changed in the roster takes the old one's place, which stays in the history.
An agent that Letta lost is created again with the last values of its blocks. Nothing of another caller is ever touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from atlas_mcp.constellation.agent_rows import KeptAgent, KeptBlock, read_agent, write_agent
from atlas_mcp.constellation.names import agent_lock, tags
from atlas_mcp.constellation.own_blocks import OwnBlocks
from atlas_mcp.constellation.prompt import letta_tools, system_prompt
from atlas_mcp.constellation.registered import RegisteredTools
from atlas_mcp.constellation.shared import SharedBlocks
from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.states import AgentChange, NewAgent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.contract import ModelChoice, SourceTools
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import AgentState
    from atlas_mcp.model.agent import AgentSpec, Roster, Warmth
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


class Keeper:
    """One caller's agents, in Letta and in the record; `marks` are further tags for those that are created."""

    def __init__(
        self,
        caller: Caller,
        roster: Roster,
        letta: Letta,
        record: Record,
        locks: Locks,
        models: ModelChoice,
        toolbox: SourceTools,
        *,
        marks: Sequence[str] = (),
    ) -> None:
        self._caller = caller
        self._roster = roster
        self._letta = letta
        self._record = record
        self._locks = locks
        self._models = models
        self._shared = SharedBlocks(caller, roster, letta, record, locks)
        self._own = OwnBlocks(caller, roster, letta, record, locks)
        self._tools = RegisteredTools(letta, locks, toolbox)
        self._marks = tuple(marks)
        self._fingerprints: dict[tuple[str, ...], str] = {}

    def handle(self, spec: AgentSpec) -> str:
        """The handle of the model that answers for the agent."""
        return self._models.handle(self._roster.tier(spec), spec.level, spec.model)

    async def agent(self, name: str, *, lost: str | None = None, kept: KeptAgent | None = None) -> KeptAgent:
        """The agent, created or brought up to date if need be. `lost` is an id that Letta no longer has, `kept` what
        has just been read of the agent.

        Raises UnknownAgent for a name that is not in the roster, and what Letta's door raises.
        """
        spec = self._roster.agent(name)
        kept = kept or await self._read(name)
        if not kept or not self._is_current(kept, spec, lost):
            kept = await self._made_current(spec, lost)
        return replace(kept, tools=frozenset(self._tools.of(spec)))

    async def warm(self, name: str) -> Warmth:
        """See to it that the agent is there, asking Letta also when the record says so; what that took."""
        self._roster.agent(name)
        before, lost = await self._read(name), None
        if before:
            try:
                await self._letta.agent(before.letta_id)
            except LettaLost:
                lost = before.letta_id
        kept = await self.agent(name, lost=lost)
        if before is None:
            return "created"
        if kept.letta_id != before.letta_id:
            return "created anew"
        return "ready" if kept.fingerprint == before.fingerprint else "brought up to date"

    async def _made_current(self, spec: AgentSpec, lost: str | None) -> KeptAgent:
        async with self._locks.hold(agent_lock(self._caller, spec.name)):
            await self._tools.put(spec)  # before the look: an agent without tools that are refused is current
            kept = await self._read(spec.name)
            if kept and self._is_current(kept, spec, lost):
                return kept
            if kept and kept.letta_id != lost:
                try:
                    return await self._update(kept, spec)
                except LettaLost:
                    log.warning("%s is no longer in Letta", spec.name)
            return await self._create(kept, spec)

    def _is_current(self, kept: KeptAgent, spec: AgentSpec, lost: str | None) -> bool:
        return kept.letta_id != lost and kept.fingerprint == self._fingerprint(spec)

    async def _read(self, name: str) -> KeptAgent | None:
        async with self._record.look() as db:
            return await self.read(db, name)

    async def read(self, db: AsyncConnection, name: str) -> KeptAgent | None:
        """What the record has of the agent, with the blocks that the roster gives it; None if it was never created."""
        kept = await read_agent(db, self._caller, self._letta.name, name)
        if kept is None:
            return None
        labels = {b.label for b in self._roster.blocks_of(name)}
        return replace(kept, blocks={label: b for label, b in kept.blocks.items() if label in labels})

    async def _create(self, before: KeptAgent | None, spec: AgentSpec) -> KeptAgent:
        shared = await self._shared.ensure(spec.name)
        found = await self._letta.find_agents(tags(self._caller, spec.name))
        if found:
            state = await self._letta.update_agent(found[0].id, self._change(spec))
        else:
            state = await self._letta.create_agent(await self._new_agent(spec, before, shared))
            log.info("created %s in Letta", spec.name)
        return await self._settle(spec, state, shared, before)

    async def _update(self, kept: KeptAgent, spec: AgentSpec) -> KeptAgent:
        shared = await self._shared.ensure(spec.name)
        state = await self._letta.update_agent(kept.letta_id, self._change(spec))
        return await self._settle(spec, state, shared, kept)

    async def _settle(
        self, spec: AgentSpec, state: AgentState, shared: dict[str, KeptBlock], before: KeptAgent | None
    ) -> KeptAgent:
        """Make the agent's tools and blocks what they should be, and keep all of it in the record."""
        await self._tools.give(state, spec)
        own = await self._own.settle(state, spec, before)
        await self._share(state, shared)
        kept = KeptAgent(spec.name, state.id, self._fingerprint(spec), own | shared)
        async with self._record.write(self._caller.id) as db:
            await write_agent(db, self._caller, self._letta.name, kept)
        return kept

    async def _share(self, state: AgentState, shared: dict[str, KeptBlock]) -> None:
        """Attach the shared blocks, and take away what is neither shared nor the agent's own by the roster."""
        labels = {b.label for b in self._roster.blocks if not b.shared}
        wanted = {b.letta_id for b in shared.values()}
        for block in state.blocks:
            if block.label not in labels and block.id not in wanted:
                await self._letta.detach_block(state.id, block.id)
        has = {b.id for b in state.blocks}
        for block_id in wanted - has:
            await self._letta.attach_block(state.id, block_id)

    async def _new_agent(self, spec: AgentSpec, lost: KeptAgent | None, shared: dict[str, KeptBlock]) -> NewAgent:
        return NewAgent(
            name=spec.name,
            description=spec.description,
            model=self.handle(spec),
            system=system_prompt(spec, self._roster),
            blocks=await self._own.first(spec, lost),
            shared=tuple(b.letta_id for b in shared.values()),
            tags=(*tags(self._caller, spec.name), *self._marks),
            tools=letta_tools(self._letta.kind),
        )

    def _change(self, spec: AgentSpec) -> AgentChange:
        return AgentChange(
            description=spec.description, model=self.handle(spec), system=system_prompt(spec, self._roster)
        )

    def _fingerprint(self, spec: AgentSpec) -> str:
        tools = sorted(tool.mark for tool in self._tools.of(spec).values())
        key = (spec.name, *tools)
        if key not in self._fingerprints:
            specs = self._roster.blocks_of(spec.name)
            blocks = [[b.label, b.description, b.limit, b.shared, b.read_only] for b in specs]
            system = system_prompt(spec, self._roster)
            told = [spec.persona, spec.description, system, self.handle(spec), blocks, tools]
            self._fingerprints[key] = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return self._fingerprints[key]
