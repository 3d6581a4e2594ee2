"""Constellations with something in all their parts, and files of them."""

from __future__ import annotations

import json
import re
import zipfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.atlas import Atlas

_IDS = re.compile(
    r"\b(?:[a-z]+[-_])*(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32})\b|\brun_[a-z0-9]{16,}\b"
)


@asynccontextmanager
async def atlas_on(home: Path, **settings: Any) -> AsyncIterator[Atlas]:
    """ATLAS on that home."""
    async with open_atlas(load_settings(home=home, **settings)) as atlas:
        yield atlas


async def fill(atlas: Atlas, *, task: bool = False) -> None:
    """Turns, memory of several hands, an archive, additions, a talk and a document; on demand, a team task."""
    me = atlas.local_caller("a host")
    await atlas.chat(me, "librarian", "Remember this: my name is Ada.")
    await atlas.chat(me, "strategist", "What is a lighthouse?")
    await atlas.update_memory(me, "librarian", "human", value="Ada keeps a lighthouse.")
    await atlas.update_memory(me, "librarian", "human", append="She likes oil lamps.")
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # agents alone write into archives
    letta = await rooms.lettas.of(me)
    agents = await (await rooms.constellation(me))._keeper.agent("librarian"), letta  # pyright: ignore[reportPrivateUsage]
    await archive(letta, agents[0].letta_id)
    await atlas.groups.create_agent(me, "night_editor", "Edits at night.", "I edit what others wrote.")
    await atlas.groups.create_group(
        me, {"name": "desk", "description": "Edits.", "agents": ["night_editor", "strategist"]}
    )
    talk = await atlas.groups.chat(me, "desk", "What is a lamp?")
    assert talk.status == "completed"
    await atlas.share_knowledge(me, "oil", "The lamp burns colza oil.", project="light")
    if not task:
        return
    run = await atlas.run_team_task(
        me,
        TeamTask(goal="How was the light kept?", materials=[{"name": "log", "text": "The keeper lit the lamp."}]),  # pyright: ignore[reportArgumentType]
    )
    assert run.status == "completed", run.error


async def fill_little(atlas: Atlas) -> None:
    """Two agents with memory of several hands, an archive, a document: what a slow Letta takes in a short time."""
    me = atlas.local_caller("a host")
    await atlas.chat(me, "librarian", "Remember this: my name is Ada.")
    await atlas.update_memory(me, "librarian", "human", value="Ada keeps a lighthouse.")
    await atlas.update_memory(me, "librarian", "human", append="She likes oil lamps.")
    await atlas.update_memory(me, "strategist", "team_notes", value="The oil comes on Fridays.")
    await atlas.share_knowledge(me, "oil", "The lamp burns colza oil.", project="light")
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # agents alone write into archives
    agent = await (await rooms.constellation(me))._keeper.agent("librarian")  # pyright: ignore[reportPrivateUsage]
    await archive(await rooms.lettas.of(me), agent.letta_id)


async def archive(letta: Any, agent_id: str) -> None:
    """Two texts in an agent's archive, of different times."""
    from datetime import UTC, datetime

    from atlas_mcp.letta.moving import PassageState

    for year, text in ((2019, "The lamp was bought."), (2021, "The lens broke – “twice”.")):
        await letta.moves.add_passage(agent_id, PassageState(text, ("log",), datetime(year, 5, 4, 3, 2, 1, tzinfo=UTC)))


def content(path: Path) -> dict[str, Any]:
    """What a package file says, ids aside."""
    with zipfile.ZipFile(path) as archive:
        read = {name: archive.read(name).decode() for name in archive.namelist() if name != "manifest.json"}
    told = [(_IDS.sub("ID", name), _plain(name, text)) for name, text in read.items()]
    named = sorted(told, key=lambda entry: (entry[0], str(entry[1])))
    return {f"{name} {number}" if "ID" in name else name: said for number, (name, said) in enumerate(named)}


def _plain(name: str, text: str) -> Any:
    return json.loads(_IDS.sub("ID", text)) if name.endswith(".json") else text
