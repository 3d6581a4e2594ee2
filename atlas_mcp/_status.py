"""How the house is: one line a room, each with what to do where it is not well.

Asking opens nothing: a room that nobody has needed yet is `idle`, and says so. Of each database file the beginning is
looked at, so that a damaged one is told before anybody needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp import __version__
from atlas_mcp.constellation.sandbox import sandbox_means
from atlas_mcp.errors import AtlasError
from atlas_mcp.model.status import Room, Status
from atlas_mcp.settings import exposed_settings
from atlas_mcp.store.files import look
from atlas_mcp.watch.state import tracing_health

_LOG = "See logs/ingest.log in the home folder; traces are kept in the spool meanwhile."

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp._rooms import RoomsKeeper
    from atlas_mcp.model.caller import Caller


async def describe_status(keeper: RoomsKeeper, caller: Caller) -> Status:
    """The status of the keeper's home as this caller may see it."""
    record, open_runs = _record(keeper), 0
    if keeper.opened is not None and record.health == "ok":
        open_runs = await keeper.opened.runs.count_open(caller)
    house = [_models(keeper), record, await _letta(keeper), _runs(keeper)]
    rooms = [*house, _tools(keeper), _sandbox(), _tracing(keeper)]
    notes = [note for note in (keeper.model_note,) if note]
    notes += keeper.lacks()
    if exposed := exposed_settings(keeper.home.path):
        notes.append(f"Other users can read the keys in {exposed}. Close it: chmod 600 '{exposed}'")
    return Status(
        ok=all(room.health != "failing" for room in rooms),
        version=__version__,
        home=str(keeper.home.path),
        caller=caller.id,
        model=keeper.models.handle("supervisor", "interactive").replace("/", ":", 1),
        offline=keeper.models.offline,
        roster=keeper.roster.name,
        agents=len(keeper.roster.agents),
        open_runs=open_runs,
        rooms=rooms,
        notes=notes,
    )


def _models(keeper: RoomsKeeper) -> Room:
    if keeper.models.offline:
        return Room(
            name="models",
            health="warning",
            text="No model is configured: the built-in offline model answers.",
            next_step="Set ATLAS_MODEL=provider:name and the provider's key.",
        )
    return Room(name="models", health="ok", text=f"Configured: {', '.join(keeper.models.handles())}.")


def _broken(name: str, *files: Path) -> Room | None:
    for file in files:
        if error := look(file):
            return Room(name=name, health="failing", text=error.message, next_step=error.next_step)
    return None


def _record(keeper: RoomsKeeper) -> Room:
    if broken := _broken("record", keeper.home.record):
        return broken
    # A broken file is told by its own room, and no longer once it is mended.
    if keeper.failure is not None and not any(map(look, keeper.home.databases)) and keeper.opened is None:
        return Room(name="record", health="failing", text=str(keeper.failure), next_step="Mend this, then call again.")
    if keeper.opened is None:
        return Room(name="record", health="idle", text="Opens with the first call that needs it.")
    return Room(name="record", health="ok", text="SQLite in the home folder.")


def _runs(keeper: RoomsKeeper) -> Room:
    if broken := _broken("runs", keeper.home.engine, keeper.home.checkpoints):
        return broken
    if keeper.opened is None:
        return Room(name="runs", health="idle", text="Opens with the first call that needs it.")
    return Room(name="runs", health="ok", text="Kept in the home folder; what is unfinished goes on at a restart.")


async def _letta(keeper: RoomsKeeper) -> Room:
    if broken := _broken("letta", keeper.home.letta):
        return broken
    if keeper.opened is None:
        return Room(name="letta", health="idle", text="The embedded Letta; opens with the first call that needs it.")
    try:
        version = await (await keeper.opened.lettas.named("embedded")).health()
    except AtlasError as error:
        return Room(name="letta", health="failing", text=str(error), next_step=error.next_step)
    return Room(name="letta", health="ok", text=f"The embedded Letta, {version}.")


def _tools(keeper: RoomsKeeper) -> Room:
    toolbox = keeper.toolbox
    if toolbox.problems:
        return Room(name="tools", health="warning", text=" ".join(toolbox.problems), next_step="Mend these files.")
    return Room(
        name="tools", health="ok", text=f"{len(toolbox.available)} tools: {', '.join(sorted(toolbox.available))}."
    )


def _sandbox() -> Room:
    means = sandbox_means()
    if means == "none":
        return Room(
            name="sandbox",
            health="warning",
            text="Tool source runs with resource limits only: this system has no means to close files and network.",
            next_step="Source that agents wrote is refused here; tools of your own run as you.",
        )
    return Room(name="sandbox", health="ok", text=f"Tool source runs closed off by {means}.")


def _tracing(keeper: RoomsKeeper) -> Room:
    tracing = keeper.tracing
    where = keeper.destination.shown
    if tracing is None:
        return Room(name="tracing", health="failing", text="Tracing is not running.", next_step="Restart atlas-mcp.")
    health, lost = tracing_health(keeper.home.path), tracing.counts.lost
    if health.ingest.error:
        return Room(
            name="tracing", health="warning", text=f"To {where}, which fails: {health.ingest.error}.", next_step=_LOG
        )
    if lost:
        return Room(name="tracing", health="warning", text=f"To {where}; {lost} spans were lost.", next_step=_LOG)
    return Room(name="tracing", health="ok", text=f"To {where}; {health.waiting_bytes:,} bytes wait in the spool.")
