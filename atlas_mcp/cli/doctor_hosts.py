"""What hosts' files say of ATLAS, tried out: each entry is started as by its host, asked for its tools, and ended."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio

from atlas_mcp import __version__
from atlas_mcp.cli.install_files import entry_in, read
from atlas_mcp.cli.install_hosts import HOSTS, MODULE, VARIABLES, Host, Machine, file_of
from atlas_mcp.errors import AtlasError, InvalidInput, Unavailable
from atlas_mcp.model.status import Room
from atlas_mcp.settings import foreign

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 60.0
_ASK_SECONDS = 15.0
_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_OLDEST = (3, 11)


async def host_checks() -> list[Room]:
    """Each file of a host that has ATLAS in it, of the user and of the project in this folder; one after the other."""
    found = [await _checked(host, path, project) for host, path, project in _files()]
    rooms = [room for room in found if room is not None]
    if rooms:
        return rooms
    text = "No host that ATLAS knows starts it."
    return [Room(name="hosts", health="idle", text=text, next_step=f"atlas-mcp install {'|'.join(HOSTS)}")]


def _files() -> Iterator[tuple[Host, Path, bool]]:
    machine = Machine(sys.platform, Path.home(), foreign(*VARIABLES))
    for host in HOSTS.values():
        yield host, (own := file_of(host, machine, None)), False
        if host.project_file and (here := file_of(host, machine, Path.cwd())) != own:
            yield host, here, True


async def _checked(host: Host, path: Path, project: bool) -> Room | None:
    command = f"atlas-mcp install {host.name}{' --project' if project else ''}"
    name = f"{host.name}{', project' if project else ''}"
    try:
        entry = entry_in(path, read(path), host)
        if entry is None or "url" in entry:
            return None
        text, well = await _tried(entry)
    except InvalidInput as error:
        return Room(name=name, health="failing", text=error.message, next_step="Mend the file.")
    except AtlasError as error:
        return Room(name=name, health="failing", text=f"{path}: {error}", next_step=command)
    return Room(
        name=name, health="ok" if well else "warning", text=f"{path}: {text}", next_step=None if well else command
    )


async def _tried(entry: dict[str, Any]) -> tuple[str, bool]:
    """What came of starting it, and whether it is as it should be. Unavailable, with its last words, when it fails."""
    from mcp import StdioServerParameters

    from atlas_mcp.cli.client import open_server

    command, args = str(entry.get("command")), [str(arg) for arg in entry.get("args", [])]
    if shutil.which(command) is None:
        raise Unavailable(f"it starts {command}, and no such program is there.")
    env = cast("dict[str, Any]", entry.get("env") or {})
    given = {name: _REFERENCE.sub(_known, str(value)) for name, value in env.items()}
    asked = [name for name, value in given.items() if value.startswith("${input:")]
    parameters = StdioServerParameters(
        command=command, args=args, env={name: value for name, value in given.items() if name not in asked}
    )
    try:
        with anyio.fail_after(_START_SECONDS):
            async with open_server("atlas-mcp doctor", parameters) as server:
                tools, version = await server.tools(), server.version
    except TimeoutError:
        raise Unavailable(f"{command} started no server within {_START_SECONDS:g} s.") from None
    except AtlasError as error:
        raise Unavailable(await _too_old(command, args) or f"it does not start: {error}") from None
    told = f"it starts, with {len(tools)} tools"
    if version != __version__:
        return f"{told}; but as version {version}, and this is {__version__}.", False
    return f"{told}{_unasked(asked)}.", True


def _known(found: re.Match[str]) -> str:
    return foreign(found[1]).get(found[1], "")


def _unasked(names: list[str]) -> str:
    return f" (without {', '.join(names)}, for which its host asks you)" if names else ""


async def _too_old(command: str, args: list[str]) -> str | None:
    """What is wrong with the interpreter, if it is one and too old."""
    if args[: len(MODULE)] != MODULE:
        return None
    try:
        with anyio.fail_after(_ASK_SECONDS):
            asked = await anyio.run_process([command, "-c", "import sys; print(*sys.version_info[:2])"], check=False)
    except (OSError, TimeoutError):
        return None
    found = [int(part) for part in asked.stdout.split() if part.isdigit()]
    if len(found) != len(_OLDEST) or tuple(found) >= _OLDEST:
        return None
    return f"{command} is Python {found[0]}.{found[1]}, and ATLAS needs {_OLDEST[0]}.{_OLDEST[1]} or newer."
