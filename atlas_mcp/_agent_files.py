"""Single agents carried as Letta's agent files. Part of the composition root.

An imported file becomes an agent of the caller's own, beside those of the roster; with `replace` its memory takes the
place of that of an agent there is, as revisions that can be undone. What a file says that is no block of the agents
here goes into the agent's archive, so that nothing of it is lost.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp.errors import IllegalChange, InvalidInput, OverLimit
from atlas_mcp.model.portable import Carried

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.constellation.agent_file import AgentFile, FileBlock
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller

PERSONA = "persona"


async def export_agent(rooms: Rooms, caller: Caller, agent: str, path: Path) -> Carried:
    """Write the agent to a file of Letta's. UnknownAgent; InvalidInput if it cannot be written."""
    from atlas_mcp.constellation.agent_file import write_agent_file
    from atlas_mcp.constellation.portable_collect import turns_of
    from atlas_mcp.constellation.portable_rows import ids_by_name

    constellation = await rooms.constellation(caller)
    await constellation.get_memory(agent)  # created or brought up to date if need be
    letta = await rooms.lettas.of(caller)
    async with rooms.record.read() as db:
        agent_id = (await ids_by_name(db, caller, letta.name)).agents[agent]
        turns = await turns_of(db, caller, agent)
    state, configs = await letta.agent(agent_id), await letta.moves.configs(agent_id)
    blocks, said = await anyio.to_thread.run_sync(write_agent_file, path, state, configs, turns)
    notes = ["Letta's agent files hold no archive: its texts are in a full export only."]
    if not configs.get("embedding_config"):
        notes.append("Name a model of the server when you import it there: atlas-mcp has its agents' models itself.")
    return Carried(agents=1, blocks=blocks, turns=said, notes=tuple(notes))


async def import_agent(rooms: Rooms, caller: Caller, path: Path, *, name: str | None, replace: bool) -> Carried:
    """Make the file an agent of the caller's, under that name or its own.

    Raises BrokenPackage, IllegalChange if there is such an agent that is not to be replaced, OverLimit for what does
    not fit into its blocks; then nothing was changed.
    """
    from atlas_mcp.constellation.agent_file import read_agent_file

    file = await anyio.to_thread.run_sync(read_agent_file, path)
    name = name or re.sub(r"[^a-z0-9_]+", "_", file.agent.name.lower()).strip("_0123456789")
    additions = rooms.additions(caller)
    roster = await additions.roster()
    there = any(agent.name == name for agent in roster.agents)
    if there and not replace:
        raise IllegalChange(
            f"there is an agent {name!r} already. Nothing was changed.",
            argument="--agent",
            next_step="Give it another name with --agent, or add --replace: its memory is then replaced, undoably.",
        )
    kept, beside = _sorted(file, roster, name)
    if not there:
        persona = kept.pop(PERSONA, None)
        description = (file.agent.description or "").strip() or f"Imported from {path.name}."
        text = (persona.value.strip() if persona else "") or description
        await additions.create_agent(name, description, text)
    try:
        await _fill(rooms, caller, name, kept, beside)
    except BaseException:
        if not there:
            with anyio.CancelScope(shield=True):
                await (await rooms.constellation(caller)).removal.agent(name)
                await additions.delete("agent", name)
        raise
    return Carried(
        agents=1, blocks=len(kept) + (not there), passages=len(beside), notes=tuple(_notes(file, name, beside))
    )


def _sorted(file: AgentFile, roster: Roster, name: str) -> tuple[dict[str, FileBlock], dict[str, FileBlock]]:
    """The file's blocks that are blocks here, and those that are not. OverLimit for one that is too long."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InvalidInput(
            f"{name!r} does not fit.",
            argument="--agent",
            next_step="Use small letters, digits and _: --agent night_editor",
        )
    limits = {block.label: block.limit for block in roster.blocks if not block.shared}
    kept = {label: block for label, block in file.memory.items() if label in limits}
    for label, block in kept.items():
        if len(block.value) > limits[label]:
            raise OverLimit(f"the block {label!r}", len(block.value), limits[label])
    return kept, {label: b for label, b in file.memory.items() if label not in limits and b.value.strip()}


async def _fill(
    rooms: Rooms, caller: Caller, name: str, kept: dict[str, FileBlock], beside: dict[str, FileBlock]
) -> None:
    from atlas_mcp.constellation.portable_rows import ids_by_name
    from atlas_mcp.letta.moving import PassageState

    constellation = await rooms.constellation(caller)
    await constellation.get_memory(name)
    letta = await rooms.lettas.of(caller)
    async with rooms.record.read() as db:
        agent_id = (await ids_by_name(db, caller, letta.name)).agents[name]
    for label, block in beside.items():
        text = f"{label}: {block.value}"
        await letta.moves.add_passage(agent_id, PassageState(text, (label,), datetime.now(UTC)))
    for label, block in kept.items():
        await constellation.update_memory(name, label, value=block.value)


def _notes(file: AgentFile, name: str, beside: dict[str, FileBlock]) -> list[str]:
    notes = [f"Talk to it as {name}."]
    if beside:
        notes.append(f"No block of agents here, and so in its archive: {', '.join(beside)}.")
    if own := [tool.name for tool in file.tools if tool.source_code and tool.name]:
        notes.append(f"Tools with source of their own were left out: {', '.join(own)}.")
    if said := len([m for m in file.agent.messages if m.role in {"user", "assistant"}]):
        notes.append(f"{said} messages were left out: no Letta takes messages into a conversation.")
    return notes
