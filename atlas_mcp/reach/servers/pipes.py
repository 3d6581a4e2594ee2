"""A server that is a program of this machine: started, talked to through its pipes, and ended.

Promise: its whole process group is gone when the block is left, and on Linux also when ATLAS is killed (elsewhere its
input ends then). It has the variables that programs need and those that the user gave it, none of ATLAS' own. Its error
stream goes into its log, no faster than a log needs. What is no message on its output is logged and passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.os.win32.utilities import (
    close_process_job,
    create_windows_process,
    get_windows_executable_command,
    terminate_windows_process_tree,
)
from mcp.shared.message import SessionMessage

from atlas_mcp.reach.servers.wire import CutOffError, Flow, Lines, read_line
from atlas_mcp.store import _platform

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from anyio.abc import ByteReceiveStream, ByteSendStream, Process
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from atlas_mcp.reach.servers.config import ServerConfig
    from atlas_mcp.reach.servers.log import ServerLog

    Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

_CHILD = Path(__file__).with_name("_child.py")
_FLUSH_SECONDS = 0.5
_LEAVE_SECONDS = 1.0
_KILL_SECONDS = 1.0
_LOG_PAUSE = 0.02  # after each piece of at most 64 kB: no server logs faster than 3 MB/s
_NOISE = 500


class NotStartedError(Exception):
    """Raised when the program cannot be started; the text names the key to mend."""


@asynccontextmanager
async def over_pipes(config: ServerConfig, log: ServerLog, trouble: Callable[[str], None]) -> AsyncGenerator[Streams]:
    """The streams of messages from and to the program. `trouble` is told why there will be no more.

    Raises NotStartedError.
    """
    process = await _started(config)
    to_us, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()

    async def take() -> None:
        async with to_us:
            try:
                await _take(process, to_us, log)
                trouble(await _ending(process, "it closed its output"))
            except CutOffError as cut:
                trouble(str(cut))
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                trouble("the connection was closed")
        await _drain(process)

    async def give() -> None:
        try:
            async with from_us:
                async for message in from_us:
                    line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await cast("ByteSendStream", process.stdin).send(f"{line}\n".encode())
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            trouble(await _ending(process, "it closed its input"))
            await to_us.aclose()
        finally:
            written.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(give)
        tasks.start_soon(_log_errors, process, log)
        try:
            yield read, write
        finally:
            with anyio.CancelScope(shield=True):
                read.close()
                write.close()
                with anyio.move_on_after(_FLUSH_SECONDS):
                    await written.wait()
                await _stop(process)
            tasks.cancel_scope.cancel()


async def _started(config: ServerConfig) -> Process:
    environment = get_default_environment() | dict(config.env)
    cwd = _folder(config.cwd)
    command = _found(config.command, environment, cwd)
    try:
        if _platform.WINDOWS:
            command, pipe = get_windows_executable_command(command), cast("Any", subprocess.PIPE)
            return cast("Process", await create_windows_process(command, [*config.args], environment, pipe, cwd))
        begin = [sys.executable, "-I", "-S", "-B", str(_CHILD), str(_platform.__file__), str(os.getpid())]
        return await anyio.open_process(
            [*begin, command, *config.args], env=environment, cwd=cwd, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotStartedError(f"command: {config.command!r} cannot be started: {reason.lower()}") from None


def _folder(cwd: str | None) -> Path | None:
    folder = Path(cwd).expanduser() if cwd else None
    if folder is not None and not folder.is_dir():
        raise NotStartedError(f"cwd: there is no folder {folder}")
    return folder


def _found(command: str, environment: Mapping[str, str], cwd: Path | None) -> str:
    """Where the command is; asked before it is started, for the child that becomes it could say so only in its log."""
    place = Path(command).expanduser()
    if place.parent != Path():
        place = place if place.is_absolute() or cwd is None else cwd / place
        if shutil.which(place) is None:
            raise NotStartedError(f"command: there is no program {command!r}")
        return str(place.absolute())
    if (found := shutil.which(command, path=environment.get("PATH"))) is None:
        raise NotStartedError(
            f"command: there is no program {command!r} in the PATH; give its whole path, or set PATH in env"
        )
    return found


async def _take(process: Process, to_us: MemoryObjectSendStream[SessionMessage | Exception], log: ServerLog) -> None:
    lines, flow, noise = Lines(), Flow(), 0
    with suppress(anyio.EndOfStream):
        while True:
            for line, length in lines.feed(await cast("ByteReceiveStream", process.stdout).receive()):
                flow.count()
                message = read_line(line, length)
                if message is not None:
                    await to_us.send(message)
                elif line.strip():
                    noise += 1
                    if noise <= _NOISE:
                        log.note(f"not a message on its output: {line[:200].decode(errors='replace')!r}")


async def _ending(process: Process, otherwise: str) -> str:
    with anyio.move_on_after(_LEAVE_SECONDS):
        code = await process.wait()
        return _platform.ended_by(code) if code >= 0 else f"it was ended: {_platform.ended_by(code).lower()}"
    return otherwise


async def _drain(process: Process) -> None:
    """Read on to no end, so that a server that is still writing can come to its own end."""
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while True:
            await cast("ByteReceiveStream", process.stdout).receive()


async def _log_errors(process: Process, log: ServerLog) -> None:
    if (stderr := process.stderr) is None:
        return
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while True:
            log.write(await stderr.receive())
            await anyio.sleep(_LOG_PAUSE)


async def _stop(process: Process) -> None:
    """As the specification has it: close its input, let it leave, then end it and whatever it left behind."""
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await cast("ByteSendStream", process.stdin).aclose()
    with anyio.move_on_after(_LEAVE_SECONDS):
        await process.wait()
    await _kill(process)
    with anyio.move_on_after(_KILL_SECONDS):
        await process.wait()
    if _platform.WINDOWS:
        close_process_job(process)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await stream.aclose()


async def _kill(process: Process) -> None:
    if _platform.WINDOWS:
        await terminate_windows_process_tree(process)
    else:
        await terminate_posix_process_tree(process, _KILL_SECONDS)
