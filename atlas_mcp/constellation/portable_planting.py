"""Agents planted in a Letta from what was collected elsewhere, and pulled out again.

Promise: what is planted carries a mark of its own, and no tag by which a keeper would take it for an agent in use. So
whoever comes after a crash finds all of it by the mark. Once the record names what was planted it gets its proper tags;
what the record does not name is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atlas_mcp.constellation.agent_rows import SHARED
from atlas_mcp.constellation.names import tags
from atlas_mcp.constellation.prompt import letta_tools, system_prompt
from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.moving import PassageState
from atlas_mcp.letta.states import NewAgent, NewBlock
from atlas_mcp.model.agent import AgentSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlas_mcp.constellation.contract import ModelChoice
    from atlas_mcp.constellation.move_marks import Old
    from atlas_mcp.constellation.portable_collect import InLetta
    from atlas_mcp.constellation.portable_entries import AgentEntry, BlockEntry
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller


@dataclass
class Planted:
    """Letta's ids of what was planted: agents by name, blocks by owner and label."""

    agents: dict[str, str] = field(default_factory=dict[str, str])
    blocks: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])


async def plant(letta: Letta, mark: str, living: InLetta, new_agent: Callable[[AgentEntry], NewAgent]) -> Planted:
    """Create all of it in the Letta, under the mark. `new_agent` says what else than its memory an agent is there."""
    planted = Planted()
    for block in living.blocks:
        planted.blocks[block.owner, block.label] = await _plant_block(letta, mark, block)
    for agent in living.agents:
        own = [block_id for (owner, _), block_id in planted.blocks.items() if owner == agent.name]
        shared = [planted.blocks[SHARED, label] for label in agent.shared if (SHARED, label) in planted.blocks]
        new = replace(new_agent(agent), name=agent.name, blocks=(), shared=(*own, *shared), tags=(mark,))
        state = await letta.create_agent(new)
        planted.agents[agent.name] = state.id
        for passage in living.archives.get(agent.name, ()):
            await letta.moves.add_passage(state.id, PassageState(passage.text, passage.tags, passage.created_at))
    return planted


def newborn(entry: AgentEntry, roster: Roster, letta: Letta, models: ModelChoice) -> NewAgent:
    """What else than its memory the agent is on that Letta. One that is in no roster any more keeps what it was."""
    spec = next((a for a in roster.agents if a.name == entry.name), None) or AgentSpec(
        name=entry.name, role="worker", description=entry.description, persona=""
    )
    return NewAgent(
        name=entry.name,
        description=entry.description or spec.description,
        model=models.handle(roster.tier(spec), spec.level, spec.model),
        system=entry.system or system_prompt(spec, roster),
        blocks=(),
        tools=letta_tools(letta.kind),
    )


async def settle(
    letta: Letta, caller: Caller, mark: str, named_agents: Mapping[str, str], named_blocks: Mapping[str, str]
) -> int:
    """Tag what the record names, which maps ids to names of agents and owners of blocks; remove the rest of the mark.

    How many agents were removed.
    """
    removed = 0
    for agent_id in await letta.moves.marked_agents(mark):
        if agent_id in named_agents:
            await letta.moves.mark_agent(agent_id, tags(caller, named_agents[agent_id]))
        else:
            await letta.delete_agent(agent_id)
            removed += 1
    for block_id in await letta.moves.marked_blocks(mark):
        if block_id in named_blocks:
            owner = named_blocks[block_id]
            await letta.moves.mark_block(block_id, tags(caller, None if owner == SHARED else owner))
        else:
            await letta.moves.delete_block(block_id)
    return removed


async def remove(letta: Letta, old: Old, named: Old) -> None:
    """Delete what is old and no longer named, as far as it is there."""
    for group_id in set(old.groups) - set(named.groups):
        await letta.groups.delete(group_id)
    for folder_id in set(old.folders) - set(named.folders):
        await letta.knowledge.delete_folder(folder_id)
    for agent_id in set(old.agents) - set(named.agents):
        await letta.delete_agent(agent_id)
    for block_id in set(old.blocks) - set(named.blocks):
        await letta.moves.delete_block(block_id)


async def _plant_block(letta: Letta, mark: str, block: BlockEntry) -> str:
    limit = max(block.limit, len(block.value))
    new = NewBlock(block.label, block.value, limit, block.description)
    return (await letta.create_block(new, tags=[mark])).id


async def missing(letta: Letta, planted: Planted, living: InLetta) -> str | None:
    """What of the living does not stand in the Letta as it was planted, in words; None if all of it does."""
    for agent in living.agents:
        try:
            state = await letta.agent(planted.agents[agent.name])
        except LettaLost:
            return f"the agent {agent.name}"
        values = {b.label: b.value for b in state.blocks}
        for block in living.blocks:
            mine = block.owner == agent.name or (block.owner == SHARED and block.label in agent.shared)
            if mine and values.get(block.label) != block.value:
                return f"the block {block.label} of {agent.name}"
        found = sorted((p.created_at, p.text) for p in await letta.moves.passages(state.id))
        wanted = sorted((p.created_at, p.text) for p in living.archives.get(agent.name, ()))
        if [text for _, text in found] != [text for _, text in wanted]:
            return f"the archive of {agent.name}: {len(found)} of {len(wanted)} texts"
    return None
