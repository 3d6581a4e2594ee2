"""What agents kept in a run with save_output, for the caller: as texts of the record, and as files of the home.

Promise: the record has the texts; the files below `<home>/runs/<run_id>` are made from it when a team task is done, for
its owner only, and are made anew when something of it was forgotten. A folder whose run is gone goes at the next start.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import unicodedata
import uuid
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp.errors import InvalidInput, UnknownRun
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.result import Output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.store.record import Record

FOLDER = "runs"
_KEPT = "files/"
_NOBODY = Caller(id="")
_LONGEST = 200  # bytes: file systems take 255
_MAKING_SECONDS = 3600
_ODD = re.compile(r"[^\w .()+-]")
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")


class Outputs:
    """The outputs of runs. Made by `open_atlas`, as `atlas.outputs`."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper

    async def read(self, caller: Caller, run_id: str, name: str) -> str:
        """The text that an agent kept under that name. UnknownRun; InvalidInput, naming those there are."""
        texts = await _texts((await self._keeper.rooms()).record, caller, run_id)
        if name not in texts:
            raise InvalidInput(f"nothing was saved under {name!r} in this run.", argument="name", allowed=sorted(texts))
        return texts[name]


async def keep_outputs(rooms: Rooms, caller: Caller, run_id: str) -> list[Output]:
    """Write a run's outputs as files, instead of what is there; what they are. UnknownRun."""
    folder = rooms.keeper.home.path / FOLDER / run_id
    if not await _texts(rooms.record, caller, run_id) and not folder.exists():
        return []
    async with rooms.keeper.home_locks.hold(f"outputs-{run_id}"):  # who forgets something of it writes them, too
        texts = await _texts(rooms.record, caller, run_id)
        await anyio.to_thread.run_sync(_write, folder, texts)
    names = _file_names(texts)
    return [
        Output(name=name, chars=len(text), path=str(folder / names[name]) if caller.owns_home else "")
        for name, text in sorted(texts.items())
    ]


async def mend_outputs(rooms: Rooms, caller: Caller) -> None:
    """Make the caller's files anew from the record, and take away those of runs that are gone, of whomever."""
    from sqlalchemy import select

    from atlas_mcp.store.tables import run

    root = rooms.keeper.home.path / FOLDER
    ids = await anyio.to_thread.run_sync(_folders, root)
    for run_id in ids:
        async with rooms.record.look() as db:
            owner = (await db.execute(select(run.c.caller).where(run.c.id == run_id))).scalar_one_or_none()
        if owner is None:
            await anyio.to_thread.run_sync(shutil.rmtree, root / run_id, True)
        elif owner == caller.id:
            await keep_outputs(rooms, caller, run_id)


async def sweep_outputs(rooms: Rooms) -> None:
    """Take away the folders of runs that are gone."""
    await mend_outputs(rooms, _NOBODY)


async def _texts(record: Record, caller: Caller, run_id: str) -> dict[str, str]:
    from sqlalchemy import select

    from atlas_mcp.store.tables import artifact, run

    async with record.read() as db:
        mine = (run.c.id == run_id, run.c.caller == caller.id)
        if (await db.execute(select(run.c.id).where(*mine))).scalar_one_or_none() is None:
            raise UnknownRun(run_id)
        kept = select(artifact.c.name, artifact.c.text).where(
            artifact.c.run_id == run_id, artifact.c.name.startswith(_KEPT, autoescape=True)
        )
        return {row.name.removeprefix(_KEPT): row.text for row in await db.execute(kept)}


def _folders(root: Path) -> list[str]:
    """The names of all folders there; of those that are just being made, what a process that died left behind."""
    if not root.is_dir():
        return []
    old = time.time() - _MAKING_SECONDS
    return sorted(p.name for p in root.iterdir() if not p.name.startswith(".") or p.stat().st_mtime < old)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    made.mkdir(mode=0o700)
    try:
        for name, file in _file_names(texts).items():
            fd = os.open(made / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8", newline="") as kept:
                kept.write(texts[name])
        shutil.rmtree(folder, ignore_errors=True)
        if texts:
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _file_names(texts: Mapping[str, str]) -> dict[str, str]:
    """A name for each that is one on every system: nothing leads out of the folder, and no two are the same."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for name in sorted(texts):
        shown = _ODD.sub("_", unicodedata.normalize("NFC", name)).encode()[:_LONGEST].decode(errors="ignore")
        plain = PurePath(shown.strip(" .") or "_")
        stem, suffix = plain.stem, plain.suffix
        stem = f"_{stem}" if _DEVICES.fullmatch(stem) else stem
        file, number = f"{stem}{suffix or '.txt'}", 1
        while file.casefold() in taken:
            number += 1
            file = f"{stem} ({number}){suffix or '.txt'}"
        taken.add(file.casefold())
        names[name] = file
    return names
