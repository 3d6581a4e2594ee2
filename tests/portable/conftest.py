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

_IDS = re.compile(r"(turn|run|document)?-?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


@asynccontextmanager
async def atlas_on(home: Path, **settings: Any) -> AsyncIterator[Atlas]:
    """ATLAS on that home."""
    async with open_atlas(load_settings(home=home, **settings)) as atlas:
        yield atlas


async def fill(atlas: Atlas) -> None:
    """Something of everything: turns, memory of several hands, archives, a run, a document, groups' talk."""
    me = atlas.local_caller("a host")
    await atlas.chat(me, "librarian", "Remember this: my name is Ada.")
    await atlas.chat(me, "strategist", "What is a lighthouse?")
    await atlas.update_memory(me, "librarian", "human", value="Ada keeps a lighthouse.")
    await atlas.update_memory(me, "librarian", "human", append="She likes oil lamps.")
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # agents alone write into archives
    letta = await rooms.lettas.of(me)
    agents = await (await rooms.constellation(me))._keeper.agent("librarian"), letta  # pyright: ignore[reportPrivateUsage]
    await archive(letta, agents[0].letta_id)
    run = await atlas.run_team_task(
        me,
        TeamTask(goal="How was the light kept?", materials=[{"name": "log", "text": "The keeper lit the lamp."}]),  # pyright: ignore[reportArgumentType]
    )
    assert run.status == "completed", run.error


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
    return {_IDS.sub("ID", name): _plain(name, text) for name, text in read.items()}


def _plain(name: str, text: str) -> Any:
    return json.loads(_IDS.sub("ID", text)) if name.endswith(".json") else text
