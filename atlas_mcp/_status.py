"""How the house is: one line a room, each with what to do where it is not well.

Asking opens nothing: a room that nobody has needed yet is `idle`, and says so. Of each database file the beginning is
looked at, and each Letta server is asked, so that what is damaged or gone is told before anybody needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from atlas_mcp import __version__
from atlas_mcp._auditing import describe_audit
from atlas_mcp._budgets import describe_spending, price_note, spending_note
from atlas_mcp._survey import survey
from atlas_mcp.constellation.sandbox import sandbox_means
from atlas_mcp.errors import Unavailable
from atlas_mcp.model.status import Room, Status
from atlas_mcp.models.served import ServedModels
from atlas_mcp.settings import exposed_settings
from atlas_mcp.store.files import look
from atlas_mcp.watch.state import TracingHealth, tracing_health

_ANSWER_SECONDS = 2.0
_LOG = "See logs/ingest.log in the home folder; traces are kept in the spool meanwhile."

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.alert import Alert
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.server import ServerInfo
    from atlas_mcp.store.postgres import Postgres
    from atlas_mcp.store.record import Record


async def describe_status(keeper: RoomsKeeper, caller: Caller) -> Status:
    """The status of the keeper's home as this caller may see it."""
    record, open_runs, roster = await _record(keeper), 0, keeper.roster
    if keeper.opened is not None and record.health == "ok":
        open_runs = await keeper.opened.runs.count_open(caller)
        roster = await keeper.opened.additions(caller).roster()
    house = [_models(keeper), record, *await _lettas(keeper), _runs(keeper)]
    house += [
        await _embedder(keeper, record),
        *_vectors(keeper),
        *_redis(keeper),
        *await _graph(keeper),
        *await _memory(keeper, record),
    ]
    judge = [keeper.quality.judge.room()] if keeper.quality.judge else []
    tools = [
        _tools(keeper),
        *keeper.reach.door_rooms(),
        *keeper.reach.server_rooms(),
        _sandbox(),
        *keeper.guard.rooms(),
    ]
    rooms = [*house, *tools, *_tracing(keeper), *judge, *describe_audit(keeper.audit)]
    spent = await describe_spending(keeper, caller) if record.health != "failing" else None
    notes = [note for note in (keeper.model_note, price_note(keeper), spending_note(spent)) if note]
    notes += keeper.lacks()
    if keeper.opened is not None and record.health == "ok":
        notes += await _left_behind(keeper.opened, caller)
        notes += await _not_copied(keeper.opened, caller)
    if exposed := exposed_settings(keeper.home.path):
        notes.append(f"Other users can read the keys in {exposed}. Close it: chmod 600 '{exposed}'")
    return Status(
        ok=all(room.health != "failing" for room in rooms),
        version=__version__,
        home=str(keeper.home.path),
        caller=caller.id,
        model=keeper.models.handle("supervisor", "interactive").replace("/", ":", 1),
        offline=keeper.models.offline,
        roster=roster.name,
        agents=len(roster.agents),
        open_runs=open_runs,
        rooms=rooms,
        spending=spent,
        alerts=await _alerts(keeper.opened, caller) if keeper.opened is not None and record.health == "ok" else [],
        notes=notes,
    )


async def store_rooms(keeper: RoomsKeeper) -> list[Room]:
    """What the house keeps its things in, as it is now; no Letta is asked, but one that did not answer is told."""
    record = await _record(keeper)
    silent = keeper.opened.lettas.silent() if keeper.opened is not None else {}
    step = "Start it, or mend its address."
    lettas = [Room(name=f"letta {name}", health="failing", text=text, next_step=step) for name, text in silent.items()]
    stores = [record, _runs(keeper), *lettas, await _embedder(keeper, record), *_vectors(keeper), *_redis(keeper)]
    return [*stores, *await _graph(keeper), *await _memory(keeper, record), *_tracing(keeper)]


async def _alerts(rooms: Rooms, caller: Caller) -> list[Alert]:
    from atlas_mcp.watch.alerts.rows import standing

    async with rooms.record.read() as db:
        return await standing(db, caller)


async def _not_copied(rooms: Rooms, caller: Caller) -> list[str]:
    from atlas_mcp.memory.copies import problems

    async with rooms.record.read() as db:
        reasons = await problems(db, caller)
    return [f"Shared texts are found by agents, but not all are copied to Letta's folder yet: {r}" for r in reasons]


def _models(keeper: RoomsKeeper) -> Room:
    if isinstance(keeper.models, ServedModels):
        if keeper.models.offline:
            return Room(
                name="models",
                health="warning",
                text="No model is configured, and ATLAS' offline model cannot answer on a Letta server.",
                next_step="Set LETTA_MODEL to a handle of that server; `atlas-mcp doctor` lists them.",
            )
        return Room(name="models", health="ok", text=f"The Letta server's: {', '.join(keeper.models.handles())}.")
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


async def _record(keeper: RoomsKeeper) -> Room:
    if broken := _broken("record", keeper.home.record):
        return broken
    # A broken file is told by its own room, and no longer once it is mended.
    if keeper.failure is not None and not any(map(look, keeper.home.databases)) and keeper.opened is None:
        return Room(name="record", health="failing", text=str(keeper.failure), next_step="Mend this, then call again.")
    if keeper.opened is None:
        return Room(name="record", health="idle", text="Opens with the first call that needs it.")
    if keeper.database is None:
        return Room(name="record", health="ok", text="SQLite in the home folder.")
    return await _on_postgresql(keeper.opened.record, keeper.database)


async def _on_postgresql(record: Record, database: Postgres) -> Room:
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            async with record.look() as db:
                version = (await db.exec_driver_sql("SHOW server_version")).scalar_one()
    except (Unavailable, TimeoutError) as error:
        text = str(error) or f"{database.shown} does not answer within {_ANSWER_SECONDS:g} s."
        return Room(name="record", health="failing", text=text, next_step="Start it; what waits for it goes on then.")
    return Room(name="record", health="ok", text=f"PostgreSQL {version} at {database.shown}.")


async def _embedder(keeper: RoomsKeeper, record: Room) -> Room:
    if keeper.opened is None or record.health != "ok":
        return Room(name="embedder", health="idle", text="Opens with the first call that needs the record.")
    from atlas_mcp.memory.embedding_status import describe

    return await describe(keeper.opened.memory.embedding, keeper.opened.record)


def _runs(keeper: RoomsKeeper) -> Room:
    if broken := _broken("runs", keeper.home.engine):
        return broken
    if keeper.opened is None:
        return Room(name="runs", health="idle", text="Opens with the first call that needs it.")
    where = "in the home folder" if keeper.database is None else "in PostgreSQL, for all who share it"
    return Room(name="runs", health="ok", text=f"Kept {where}; what is unfinished goes on at a restart.")


async def _lettas(keeper: RoomsKeeper) -> list[Room]:
    """One room for each; a server is asked, for one that cannot be reached is to be told before it is needed."""
    found = await survey(keeper)
    return [_letta(keeper, server, "letta" if len(found) == 1 else f"letta {server.name}") for server in found]


def _letta(keeper: RoomsKeeper, server: ServerInfo, name: str) -> Room:
    if server.problem:
        return Room(name=name, health="failing", text=server.problem, next_step=server.next_step)
    if server.kind == "embedded":
        if keeper.opened is None:
            return Room(name=name, health="idle", text="The embedded Letta; opens with the first call that needs it.")
        return Room(name=name, health="ok", text=f"The embedded Letta, {server.version}.")
    what = "Letta Cloud" if server.kind == "cloud" else f"The Letta server {server.address}"
    return Room(name=name, health="ok", text=f"{what}, {server.version}; {'; '.join(server.abilities)}.")


async def _left_behind(rooms: Rooms, caller: Caller) -> list[str]:
    """What the caller still has on other Lettas than the one in use, and how to bring it over."""
    from atlas_mcp.letta import placement

    async with rooms.record.read() as db:
        placed, others = await placement.read(db, caller.id), await placement.left_behind(db, caller.id)
    here = placed.server if placed else ""
    return [
        f"{count} of your agents are on {other}, and your constellation is on {here} now: what those remember is not "
        f"in use. {_to_bring_over(other, rooms)}"
        for other, count in others.items()
    ]


def _to_bring_over(name: str, rooms: Rooms) -> str:
    command = f"`atlas-mcp servers move --from {name}` brings it over."
    return command if rooms.lettas.has(name) else f"Configure {name} again; then {command}"


def _vectors(keeper: RoomsKeeper) -> list[Room]:
    return [keeper.opened.memory.vectors.room()] if keeper.opened is not None else []


async def _memory(keeper: RoomsKeeper, record: Room) -> list[Room]:
    if keeper.opened is None or record.health != "ok":
        return []
    from atlas_mcp.memory.checking import last

    found = await last(keeper.opened.record)
    if found is None:
        return [Room(name="memory", health="idle", text="Its stores are compared a minute after the start.")]
    troubles = [f"{store.store}: {store.text}" for store in found.stores if store.health in ("warning", "failing")]
    when = f"Compared at {found.at:%Y-%m-%d %H:%M} UTC"
    if not troubles:
        return [Room(name="memory", health="ok", text=f"{when}: the stores have what the record has.")]
    step = "Run `atlas-mcp memory check --repair`; it makes every store as the record is."
    return [Room(name="memory", health=found.health, text=f"{when}. {' '.join(troubles)}", next_step=step)]


def _redis(keeper: RoomsKeeper) -> list[Room]:
    redis = keeper.opened.memory.redis if keeper.opened is not None else None
    if redis is None:
        return []
    link = redis.link
    if link.answers:
        return [Room(name="redis", health="ok", text=f"{link.shown}: working memory, counters and bells.")]
    since = f"has not answered since {link.since:%H:%M:%S} UTC" if link.since else "has not answered yet"
    step = "Start it, or mend ATLAS_REDIS_URL; it is told then what it missed."
    text = f"{link.shown} {since}: {link.reason}. The record answers: nothing is forgotten."
    return [Room(name="redis", health="warning", text=text, next_step=step)]


async def _graph(keeper: RoomsKeeper) -> list[Room]:
    mirror = keeper.opened.memory.graph if keeper.opened is not None else None
    if mirror is None:
        return []
    link = mirror.link
    if not link.answers:
        since = f"has not answered since {link.since:%H:%M:%S} UTC" if link.since else "has not answered yet"
        step = "Start it, or mend ATLAS_NEO4J_URL; it is told then what it missed."
        text = f"{link.shown} {since}: {link.reason}. The record answers: no fact is missing."
        return [Room(name="neo4j", health="warning", text=text, next_step=step)]
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            late = await mirror.late()
    except (Unavailable, TimeoutError):
        return []  # the record's own room says so
    waits = f"; {late:,} changes are still to be told, and the record answers meanwhile" if late else ""
    return [Room(name="neo4j", health="ok", text=f"{link.shown}: a copy of the facts{waits}.")]


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


def _tracing(keeper: RoomsKeeper) -> list[Room]:
    """The way of traces to MLflow, and that to a collector besides where there is one."""
    tracing, where, home = keeper.tracing, keeper.destination, keeper.home.path
    if tracing is None:
        return [Room(name="tracing", health="failing", text="Tracing is not running.", next_step="Restart atlas-mcp.")]
    counts = tracing.counts
    ways = [_traces_to("tracing", where.shown, tracing_health(home), counts.lost)]
    if besides := where.besides:
        health = tracing_health(home, besides.folder)
        ways.append(_traces_to("collector", besides.shown, health, counts.lost_besides))
    return ways


def _traces_to(name: str, where: str, health: TracingHealth, lost: int) -> Room:
    waits = f"{health.waiting_bytes:,} bytes wait in the spool"
    gone = f"; {lost:,} spans were lost" if lost else ""
    if health.ingest.error:
        text = f"To {where}, which fails: {health.ingest.error}; {waits}{gone}."
        return Room(name=name, health="warning", text=text, next_step=_LOG)
    if refused := health.ingest.refused:
        gone += f"; {refused:,} spans were refused there"
    if lost:
        return Room(name=name, health="warning", text=f"To {where}; {waits}{gone}.", next_step=_LOG)
    return Room(name=name, health="ok", text=f"To {where}; {waits}{gone}.")
