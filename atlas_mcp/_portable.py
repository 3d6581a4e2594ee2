"""Constellations carried: to a file, from a file, and from one Letta to another. Part of the composition root.

Promise: what is refused is refused before anything is changed.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp._agent_files import export_agent, import_agent
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.roster_text import roster_text
from atlas_mcp.constellation.tool_source import BrokenTool, read_tool
from atlas_mcp.errors import AtlasError, BrokenPackage, BrokenRoster, InvalidInput
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.portable import Carried, Moved
from atlas_mcp.models.catalog import parse_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.constellation.portable_collect import InLetta
    from atlas_mcp.constellation.portable_entries import Package
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.agent import Roster

IMPORT_WAIT_SECONDS = 30.0
"""How long an import waits for turns of the constellation that it replaces."""
MOVE_WAIT_SECONDS = 600.0
"""How long a move waits for turns and runs of the constellation."""


class Portable:
    """What carries the constellations of one home."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper

    async def export(self, caller: Caller, path: Path) -> Carried:
        """Write the caller's whole constellation to that file. InvalidInput if it cannot be written."""
        rooms = await self._keeper.rooms()
        return await self._export(caller, await rooms.lettas.of(caller), path)

    async def _export(self, caller: Caller, letta: Letta, path: Path) -> Carried:
        from atlas_mcp.constellation.portable_collect import collect
        from atlas_mcp.constellation.portable_file import write_package
        from atlas_mcp.constellation.portable_rows import unfinished_runs

        rooms = await self._keeper.rooms()
        own = self._keeper.toolbox.own_sources
        package = await collect(caller, self._keeper.roster, letta, rooms.record, own)
        await anyio.to_thread.run_sync(write_package, path, package)
        async with rooms.record.read() as db:
            going_on = await unfinished_runs(db, caller)
        notes = (f"{going_on} runs have not ended, and are not in the file.",) if going_on else ()
        return _carried(package).model_copy(update={"notes": notes})

    async def import_(self, caller: Caller, path: Path, *, replace: bool = False, allow_tools: bool = False) -> Carried:
        """Make the file the caller's constellation, whole or not at all.

        Raises BrokenPackage for a file that is not what it should be, IllegalChange if there is a constellation that is
        not to be replaced, InvalidInput for what cannot be put here, and whatever Letta's door raises.
        """
        from atlas_mcp.constellation.additions import extended
        from atlas_mcp.constellation.moves import refuse
        from atlas_mcp.constellation.portable_file import read_package
        from atlas_mcp.constellation.portable_planting import newborn
        from atlas_mcp.constellation.portable_rows import counted
        from atlas_mcp.memory.forgetting import bury_again

        package = await anyio.to_thread.run_sync(read_package, path)
        files, notes = self._files(path, package, allow_tools=allow_tools)
        rooms = await self._keeper.rooms()
        async with rooms.record.read() as db:
            there = await counted(db, caller)
        refuse(there, replace=replace)
        letta = await rooms.lettas.of(caller)
        backup = await self._backup(caller, letta) if there else None
        models = await rooms.models_of(letta)
        roster = extended(package.roster, [(a.kind, a.name, a.spec) for a in package.groups.additions])
        await rooms.moves.bring(
            caller,
            package,
            letta,
            lambda entry: newborn(entry, roster, letta, models),
            replace=replace,
            files=files,
            wait_seconds=IMPORT_WAIT_SECONDS,
        )
        async with rooms.record.write(caller.id) as db:
            if gone := await bury_again(db, rooms.record, caller):
                notes.append(f"Left out: {gone} things of it that were forgotten here.")
        rooms.copier.wanted(caller)
        return _carried(package).model_copy(update={"notes": tuple(notes), "backup": backup})

    async def export_agent(self, caller: Caller, agent: str, path: Path) -> Carried:
        """Write the agent to a file of Letta's; see `export_agent`."""
        return await export_agent(await self._keeper.rooms(), caller, agent, path)

    async def import_agent(
        self, caller: Caller, path: Path, *, name: str | None = None, replace: bool = False
    ) -> Carried:
        """Make a file of Letta's an agent of the caller's; see `import_agent`."""
        return await import_agent(await self._keeper.rooms(), caller, path, name=name, replace=replace)

    async def move(
        self,
        caller: Caller,
        to: str | None = None,
        *,
        source: str | None = None,
        replace: bool = False,
        wait_seconds: float = MOVE_WAIT_SECONDS,
    ) -> Carried:
        """Move the caller's constellation to the Letta of that name; or what it left on `source` to where it is now.

        ConfigurationError for a Letta that is not configured, IllegalChange when agents are there that are not to be
        replaced, ConstellationMoving when turns and runs do not end in time; then nothing was moved.
        """
        from atlas_mcp.constellation.portable_planting import newborn

        rooms = await self._keeper.rooms()
        here = await rooms.lettas.of(caller)
        origin = await rooms.lettas.named(source) if source else here
        target = await rooms.lettas.named(to) if to else here
        if origin.name == target.name:
            return Carried(notes=(f"It is on {target.name} already.",))
        models = await rooms.models_of(target)
        roster = await rooms.additions(caller).roster()
        backup = await self._backup(caller, target) if replace else None
        living = await rooms.moves.move(
            caller,
            origin,
            target,
            lambda entry: newborn(entry, roster, target, models),
            replace=replace,
            wait_seconds=wait_seconds,
        )
        rooms.copier.wanted(caller)
        return _living(living).model_copy(update={"backup": backup})

    async def drain(self, name: str, *, wait_seconds: float = MOVE_WAIT_SECONDS) -> list[Moved]:
        """Move every constellation away from the Letta of that name, each to one of the others that the hash gives it.

        One that cannot be moved is told with the reason, and the next is moved. InvalidInput without another Letta.
        """
        from atlas_mcp.letta import placement

        rooms = await self._keeper.rooms()
        others = [server for server in rooms.lettas.servers.values() if server.name != name and server.weight]
        if not others:
            raise InvalidInput(
                f"there is no other Letta than {name!r} that constellations could move to.",
                argument="NAME",
                next_step="Add one to letta_servers in settings.toml.",
            )
        await rooms.moves.finish_all()
        async with rooms.record.read() as db:
            placed = [p for p in await placement.read_all(db) if p.server == name]
        moved: list[Moved] = []
        for each in placed:
            caller = Caller(id=each.caller, kind="key" if each.caller.startswith("key:") else "local")
            to = placement.choose(each.caller, others).name
            try:
                carried = await self.move(caller, to, source=name, wait_seconds=wait_seconds)
                moved.append(Moved(caller=each.caller, to=to, carried=carried))
            except AtlasError as error:
                moved.append(Moved(caller=each.caller, to=to, problem=str(error)))
        return moved

    async def _backup(self, caller: Caller, letta: Letta) -> Path:
        """What is about to be replaced on that Letta, exported to the home."""
        folder = self._keeper.home.path / "exports"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"replaced-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.zip"
        await self._export(caller, letta, path)
        return path

    def _files(self, path: Path, package: Package, *, allow_tools: bool) -> tuple[dict[Path, bytes], list[str]]:
        """The files that come with the package, and what to say of them. InvalidInput, BrokenPackage."""
        files: dict[Path, bytes] = {}
        notes: list[str] = []
        if package.roster != self._keeper.roster:
            files[self._keeper.home.roster] = self._roster(path, package.roster).encode()
            notes.append("Its roster is now this home's. Start again the servers that run on this home.")
        if package.tools and not allow_tools:
            names = ", ".join(sorted(package.tools))
            notes.append(f"Tools were left out ({names}): their source runs on this machine. --allow-tools takes them.")
        elif package.tools:
            files |= self._tools(path, package.tools)
        return files, notes

    def _roster(self, path: Path, roster: Roster) -> str:
        """The roster's file. What the settings name stays what counts, so another one is refused."""
        if self._keeper.settings.roster:
            raise InvalidInput(
                f"{path} has a roster other than {self._keeper.settings.roster}.",
                argument="ATLAS_ROSTER",
                next_step="Unset ATLAS_ROSTER and import again: the file's roster then becomes this home's.",
            )
        text = roster_text(roster)
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "roster.toml"
            draft.write_text(text, encoding="utf-8")
            try:
                same = load_roster(draft, read_model=parse_name) == roster
            except BrokenRoster as broken:
                raise BrokenPackage(str(path), broken.message.rpartition(": ")[2], entry="roster.json") from broken
        if not same:
            raise BrokenPackage(str(path), "it is not a roster that a file can hold", entry="roster.json")
        return text

    def _tools(self, path: Path, tools: Mapping[str, str]) -> dict[Path, bytes]:
        folder = self._keeper.settings.tools
        if folder is None:
            raise InvalidInput(
                "there is no folder for tools of your own here.",
                argument="ATLAS_TOOLS",
                next_step="Set ATLAS_TOOLS to the folder that they shall be put into.",
            )
        files: dict[Path, bytes] = {}
        for name, source in tools.items():
            place = folder / f"{name}.py"
            if place.exists() and place.read_bytes() != source.encode():
                raise InvalidInput(
                    f"{place} is there already, and is another tool than that of {path}.",
                    argument="ATLAS_TOOLS",
                    next_step="Move one of the two aside, or import without --allow-tools.",
                )
            _check_tool(path, name, source)
            files[place] = source.encode()
        return files


def _check_tool(path: Path, name: str, source: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / f"{name}.py"
        draft.write_text(source, encoding="utf-8")
        try:
            read_tool(draft)
        except BrokenTool as broken:
            raise BrokenPackage(str(path), str(broken), entry=f"tools/{name}.py") from broken


def _carried(package: Package) -> Carried:
    return Carried(
        agents=len(package.agents),
        blocks=len(package.blocks),
        revisions=sum(len(block.revisions) for block in package.blocks),
        passages=sum(map(len, package.archives.values())),
        turns=len(package.history),
        runs=len(package.runs),
        documents=len(package.knowledge.documents),
        tools=len(package.tools),
    )


def _living(living: InLetta) -> Carried:
    return Carried(
        agents=len(living.agents),
        blocks=len(living.blocks),
        revisions=sum(len(block.revisions) for block in living.blocks),
        passages=sum(map(len, living.archives.values())),
    )
