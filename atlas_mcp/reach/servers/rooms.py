"""How other servers are, a room for each, as `get_status` tells it. Nothing is asked or imported for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.status import Room
from atlas_mcp.reach.servers.logins import Login

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.reach.servers.config import ServersFile
    from atlas_mcp.reach.servers.servers import Server, Servers

_MEND = "Mend the file, and start again; `atlas-mcp tools check` tells whether it is right."
_WAITS = "it is started with the first call that needs agents"


def rooms_of(file: ServersFile, home: Path, servers: Servers | None) -> list[Room]:
    """A room for each server of the file, and one for each that cannot be used; `servers` while they are kept."""
    rooms = [
        Room(name=f"server {name}" if name else "servers", health="warning", text=problem, next_step=_MEND)
        for name, problem in file.problems.items()
    ]
    if file.exposed:
        text = f"Other users can read {file.path}, which may hold keys."
        rooms.append(Room(name="servers", health="warning", text=text, next_step=f"Close it: chmod 600 '{file.path}'"))
    rooms += [_room(server) for server in servers.servers] if servers else []
    for config in file.servers:
        if config.disabled:
            rooms.append(Room(name=f"server {config.name}", health="idle", text="Disabled in your file."))
        elif servers is None:
            login = Login(home, config)
            idle = Room(name=f"server {config.name}", health="idle", text=f"{config.shown}: {_WAITS}.")
            rooms.append(_wanting(login, lacks) if (lacks := login.lacks) else idle)
    return rooms


def _room(server: Server) -> Room:
    name, link, shown = f"server {server.config.name}", server.link, server.config.shown
    if link.state == "failing" and (lacks := link.login.lacks):
        return _wanting(link.login, lacks)
    if link.state == "failing":
        text = f"{shown}: {link.reason}. It is tried again and again, less often each time."
        wrote = f" What it wrote itself: {link.log.path}" if link.config.transport == "stdio" else ""
        step = f"Mend it or its entry in your file.{wrote}"
        return Room(name=name, health="warning", text=text, next_step=step)
    if link.state == "starting":
        return Room(name=name, health="idle", text=f"{shown}: it is being started.")
    offered = f"{shown}, MCP {link.version}: tools offered: {len(server.standing.approved)}."
    text = " ".join([offered, *server.remarks()])
    if server.standing.withheld:
        step = f"See what changed: atlas-mcp tools approve {server.config.name!r}"
        return Room(name=name, health="warning", text=text, next_step=step)
    return Room(name=name, health="warning" if link.listing.notes else "ok", text=text)


def _wanting(login: Login, lacks: str) -> Room:
    text = f"{login.config.shown}: {lacks}. Instead of a login it may take a token in headers, as Authorization."
    return Room(name=f"server {login.config.name}", health="warning", text=text, next_step=login.command)
