"""What is done with tools as a whole, for the command line: listed, other servers tried out, what they say approved.

Servers at work are not disturbed: a server that is tried out gets a session of its own for as long as that takes.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp._config import database
from atlas_mcp._reach import Reach, like_an_order
from atlas_mcp.constellation.tool import Tool, of_server
from atlas_mcp.constellation.tool_folders import ToolFolders
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import InvalidInput, Unavailable
from atlas_mcp.reach.servers.approvals import Approvals, Standing
from atlas_mcp.reach.servers.config import ServersFile
from atlas_mcp.reach.servers.link import Link, LostError
from atlas_mcp.reach.servers.listing import Listed, Listing, Told, check_listing, clean
from atlas_mcp.reach.servers.log import ServerLog
from atlas_mcp.reach.servers.logins import Login
from atlas_mcp.reach.servers.servers import outside_tool
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.servers.config import ServerConfig
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.home import Home


@dataclass(frozen=True)
class Known:
    """A tool that agents may be offered; `state` is how it stands."""

    tool: Tool
    state: str


@dataclass(frozen=True)
class Tried:
    """A server that was tried out: what it took, or what is wrong; its tools, and what was approved of them before.

    `log` is the file that has what it wrote itself, if it wrote anything.
    """

    config: ServerConfig
    log: str
    seconds: float = 0.0
    problem: str = ""
    listing: Listing = field(default_factory=Listing)
    standing: Standing = field(default_factory=Standing)
    approved: dict[str, Told] = field(default_factory=dict[str, Any])


async def known_tools(settings: Settings) -> tuple[list[Known], list[str]]:
    """All tools as far as they are known without starting anything, and what is wrong with some, a sentence each."""
    async with _opened(settings) as (approvals, file, home):
        toolbox = Toolbox(settings.tools, ToolFolders(home.temporary, Locks(home.locks)), Reach(settings, home.path))
        found = [Known(tool, "ready") for tool in toolbox.known]
        problems = [*toolbox.problems, *file.problems.values()]
        names = {one.tool.name for one in found}
        for config in (c for c in file.servers if not c.disabled):
            told = await approvals.told(config.name)
            listing = check_listing(config, told.values(), like_an_order)
            for listed in listing.tools:
                tool = of_server(outside_tool(config, listed, _not_here), settings.permissions)
                found.append(Known(tool, "a tool of ours has its name" if tool.name in names else "approved"))
            login = Login(home.path, config)
            if lacks := login.lacks:
                problems.append(f"{config.name}: {lacks}. Log in: {login.command}")
            elif not told:
                problems.append(f"{config.name}: its tools are known when agents have first been at work with it.")
    return found, problems


async def try_out(settings: Settings, only: str | None = None) -> tuple[list[Tried], list[str]]:
    """Start each server, or one, list its tools, and end it; and what is wrong with the file, a sentence each.

    InvalidInput where there is no server of that name.
    """
    async with _opened(settings) as (approvals, file, home):
        if only is None:
            wanted = [config for config in file.servers if not config.disabled]
        else:
            wanted = [] if only in file.problems else [_usable(file, only)]
        tried: list[Tried | None] = [None] * len(wanted)

        async def one(number: int, config: ServerConfig) -> None:
            tried[number] = await _try(config, approvals, home)

        async with anyio.create_task_group() as tasks:
            for number, config in enumerate(wanted):
                tasks.start_soon(one, number, config)
        problems = [text for name, text in file.problems.items() if only is None or name in ("", only)]
        return [t for t in tried if t is not None], problems


async def approve(settings: Settings, server: str, tools: Sequence[Listed]) -> None:
    """Let these tools of that server be offered as they are now. Servers at work see it within seconds."""
    async with _opened(settings) as (approvals, _, _):
        await approvals.approve(server, tools)


def difference(tried: Tried, one: Listed) -> str:
    """What was approved of a tool and what it is now, line by line; nothing in it moves a terminal's cursor."""
    old = tried.approved.get(one.tool)
    sides = (_lines(old) if old else [], _lines(one.told))
    lines = unified_diff(*sides, "approved" if old else "nothing", "now", lineterm="", n=1)
    return "\n".join([f"{one.name}: {tried.standing.withheld[one.tool]}", *lines, ""])


def _lines(told: Told) -> list[str]:
    return json.dumps(clean(told), indent=1, sort_keys=True, ensure_ascii=False).splitlines()


async def _not_here(context: CallContext, arguments: Mapping[str, Any]) -> str:
    raise Unavailable("tools are listed here, and not called.")


async def log_in(settings: Settings, server: str, show: Callable[[str], Awaitable[None]]) -> bool:
    """Have a person log in with that server, of which `show` gives him the address to open; False if it asks for none.

    Servers at work see it within seconds. InvalidInput for a server that has no login, Unavailable where it fails.
    """
    from atlas_mcp.reach.servers.signing_in import LoginFailedError, sign_in

    async with _opened(settings) as (_, file, home):
        config = _usable(file, server)
        if not config.url or any(header.lower() == "authorization" for header in config.headers):
            has = "an Authorization in its headers" if config.url else "a program of this machine"
            raise InvalidInput(f"{server} has {has}: there is no login with it.", argument="SERVER")
        try:
            return await sign_in(Login(home.path, config), show)
        except LoginFailedError as failed:
            raise Unavailable(f"{server}: {failed}.") from None


async def log_out(settings: Settings, server: str) -> bool:
    """Forget what a login with that server gave; whether there was one. Servers at work go on without it at once."""
    async with _opened(settings) as (_, file, home):
        login = Login(home.path, _named(file, server))
        async with login.alone():
            return login.forget()


def _named(file: ServersFile, name: str) -> ServerConfig:
    """The server of that name. InvalidInput for one that there is not, or that cannot be used."""
    if wrong := file.problems.get(name):
        raise InvalidInput(wrong, argument="SERVER")
    names = [config.name for config in file.servers]
    if name not in names:
        raise InvalidInput(
            f"there is no server {name!r} in your file.",
            argument="SERVER",
            allowed=names,
            next_step=f"There are: {', '.join(names) or 'none'}.",
        )
    return file.servers[names.index(name)]


def _usable(file: ServersFile, name: str) -> ServerConfig:
    """As `_named`, of one that is not disabled."""
    if (config := _named(file, name)).disabled:
        raise InvalidInput(f"{name} is disabled in your file.", argument="SERVER", next_step='Take out "disabled".')
    return config


async def _try(config: ServerConfig, approvals: Approvals, home: Home) -> Tried:
    async def listed(_: Listing) -> None:
        """Nothing is approved by trying."""

    log = ServerLog(home.logs, config)
    link = Link(Login(home.path, config), log, flagged=like_an_order, on_listing=listed)
    try:
        seconds = await link.once()
    except LostError as lost:
        return Tried(config, str(log.path) if log.path.exists() else "", problem=str(lost))
    standing = await approvals.judged(config.name, link.listing.tools)
    told = await approvals.told(config.name)
    return Tried(config, str(log.path), seconds, "", link.listing, standing, told)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[tuple[Approvals, ServersFile, Home]]:
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    file = Reach(settings, home.path).servers_file or ServersFile()
    with home.in_use():
        async with open_record(home.path, elsewhere) as record:
            yield Approvals(record), file, home


__all__ = ["Known", "Listed", "Tried", "approve", "difference", "known_tools", "log_in", "log_out", "try_out"]
