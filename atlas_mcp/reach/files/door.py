"""The door `files`: what tools of that kind use in one turn.

Promise: the folders are those of the settings, for callers to whom this machine belongs, and those that the client's
roots allowed when the run began; they are never widened, and whose they are is not asked of an agent.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import select

from atlas_mcp.errors import ConfigurationError, ToolFailed
from atlas_mcp.model.status import Room
from atlas_mcp.reach.files.files import MOST_SEEN, Files, Text
from atlas_mcp.reach.files.places import Place, labelled, located
from atlas_mcp.reach.files.searching import by_name, by_words
from atlas_mcp.reach.readers import Readers
from atlas_mcp.store.tables import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

MOST_LISTED = 200
_CUT = {"note": f"There are more than {MOST_SEEN:,} names: the others were not looked at. Name a folder further below."}


class FilesDoor:
    """The files that one agent may see in one turn."""

    def __init__(self, files: Files, folders: tuple[Path, ...], context: CallContext, record: Record) -> None:
        self._files = files
        self._folders = folders if context.caller.owns_home else ()
        self._context = context
        self._record = record
        self._places: tuple[Place, ...] | None = None

    async def list(self, folder: str = "") -> dict[str, Any]:
        """What is in a folder, or without one the allowed folders: their paths, and of files how long and how old."""
        places = await self._allowed()
        if not folder.strip():
            return {"folders": [one.label for one in places], "files": [], "left_out": 0}
        place, names = located(folder, places)
        listed = await anyio.to_thread.run_sync(self._files.entries, place, names, abandon_on_cancel=True)
        shown = listed.found[:MOST_LISTED]
        return {
            "folders": [one.path for one in shown if one.entry.kind == "folder"],
            "files": [{"path": one.path, "bytes": one.entry.size} for one in shown if one.entry.kind == "file"],
            "left_out": len(listed.found) - len(shown),
            **(_CUT if listed.cut else {}),
        }

    async def read(self, path: str, part: str = "") -> Text:
        """The text of a file or of a part of it."""
        return await self._files.read(path, await self._allowed(), part.strip())

    async def search(self, words: str, name: str, folder: str, limit: int) -> dict[str, Any]:
        """Files that fit the name and, if there are words, lines of them with the words as they stand."""
        places = await self._allowed()
        among = await by_name(self._files, places, name, folder)
        if words.strip():
            hits, left = await by_words(self._files, places, words, among.found, limit)
        else:
            hits = [{"path": one.path} for one in among.found[:limit]]
            left = len(among.found) - len(hits)
        return {"hits": hits, "left_out": left, **(_CUT if among.cut else {})}

    async def given(self, path: str, text: str, title: str = "") -> None:
        """Note that the agent was given these words of that file: it may cite them."""
        await self._context.found(path, text, title=title)

    async def _allowed(self) -> tuple[Place, ...]:
        if self._places is None:
            self._places = labelled((*self._folders, *await self._of_run()))
        if not self._places:
            raise ToolFailed(
                "there is no folder that you may look into.",
                next_step="Go on with the materials, and say what you would need.",
            )
        return self._places

    async def _of_run(self) -> list[Path]:
        if self._context.run_id is None:
            return []
        mine = (run.c.id == self._context.run_id, run.c.caller == self._context.caller.id)
        async with self._record.look() as db:
            order: dict[str, Any] = (await db.execute(select(run.c.input).where(*mine))).scalar_one_or_none() or {}
        folders: list[str] = order.get("input", {}).get("folders") or []
        return [Path(one) for one in folders if self._context.caller.owns_home]


class Opener:
    """Opens the door, one turn at a time."""

    def __init__(self, files: Files, folders: tuple[Path, ...], record: Record) -> None:
        self._files = files
        self._folders = folders
        self._record = record

    def __call__(self, context: CallContext) -> FilesDoor:
        """The door for one agent in one turn."""
        return FilesDoor(self._files, self._folders, context, self._record)

    def room(self, name: str) -> Room:
        """Which folders the settings allow, and those of them that are not there."""
        absent = [str(folder) for folder in self._folders if not folder.is_dir()]
        if absent:
            text = f"These folders of ATLAS_FILES are not there: {', '.join(absent)}."
            return Room(name=name, health="warning", text=text, next_step="Make them, or take them out of ATLAS_FILES.")
        if not self._folders:
            return Room(name=name, health="idle", text="Agents see folders only where a client's roots allow some.")
        shown = ", ".join(str(folder) for folder in self._folders)
        return Room(name=name, health="ok", text=f"Agents of the home's owner may look into {shown}.")


@asynccontextmanager
async def open_files(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Opener]:
    """What opens the door for one turn; files are read in processes that end with the block.

    ConfigurationError for a folder of the settings that lies in the home.
    """
    await anyio.to_thread.run_sync(_check, settings.files, home)
    readers = Readers()
    try:
        yield Opener(Files(home, readers), settings.files, record)
    finally:
        await readers.close()


def _check(folders: Sequence[Path], home: Path) -> None:
    for folder in folders:
        if folder.resolve().is_relative_to(home.resolve()):
            raise ConfigurationError(
                f"ATLAS_FILES: {folder} lies in the home of ATLAS, which is closed to agents.",
                next_step="Name another folder.",
            )
