"""Runs one function of one source text in a process of its own.

Promise: whatever the source does, it costs its caller one ToolFailed at the most. It has an empty folder that is thrown
away, a clean environment, bounded processor time, memory, files and output, and a deadline at which its whole process
group is killed, as on cancellation. A caller that is killed takes it along on Linux, and leaves it to its deadline
elsewhere. Where the kernel has the means (`sandbox_means()`), it reads no file but Python's own, reaches no network and
starts no process. Source that an agent wrote (`trusted=False`) does not run without them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel

from atlas_mcp.errors import ToolFailed
from atlas_mcp.store import _platform
from atlas_mcp.store.interpreter import clean_environment, python_paths

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

    from atlas_mcp.constellation.tool_folders import ToolFolders

_GRACE_SECONDS = 1.0  # after its deadline the process ends by itself, if nobody has ended it
_CHILD = Path(__file__).with_name("_sandbox_child.py")
_FULL = "landlock+seccomp"
_INTERNET = (
    "/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/resolv.conf",
    "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
)  # fmt: skip
_slots: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("sandbox_slots")


async def run_source(
    source: str,
    function: str,
    arguments: Mapping[str, Any],
    *,
    seconds: float = 10.0,
    memory_mb: int = 512,
    output_chars: int = 20_000,
    trusted: bool = True,
    network: bool = False,
    folders: ToolFolders | None = None,
) -> str:
    """What `function(**arguments)` of the source gives: a text as it is, other values as JSON, None as what it printed.

    Raises ToolFailed, with a text for the agent, when it raises, takes longer than `seconds`, uses more than
    `memory_mb`, prints or gives more than `output_chars`, or may not run here. `network` leaves internet sockets open,
    for source of the user's own. Its folder is one of `folders`, else a temporary one of the system. At most two per
    processor run at a time; the deadline of one that waits has not begun.
    """
    means = sandbox_means()
    if not trusted and means != _FULL:
        raise ToolFailed(
            f"{function} was written by an agent and was not run: this system's kernel cannot close files and network "
            f"for it (means here: {means}).",
            next_step="Run ATLAS on Linux 5.13 or newer to allow it.",
        )
    job = _job(source, function, arguments, seconds, memory_mb, output_chars, network=network)
    async with _limiter():
        with folders.new() if folders else _temporary() as folder:
            job["folder"] = folder
            raw, code = await _exchange(function, json.dumps(job).encode(), folder, seconds, output_chars)
    return _result(function, raw, code)


def sandbox_means() -> str:
    """What closes files and network here: `landlock+seccomp`, one of them, or `none`."""
    return _platform.sandbox_means()


@contextmanager
def _temporary() -> Generator[str]:
    folder = tempfile.mkdtemp(prefix="atlas-tool-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _slots.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(2 * (os.cpu_count() or 1))
        _slots.set(limiter)
        return limiter


def _job(
    source: str,
    function: str,
    arguments: Mapping[str, Any],
    seconds: float,
    memory_mb: int,
    output_chars: int,
    *,
    network: bool,
) -> dict[str, Any]:
    readable, packages = python_paths()
    return {
        "source": source,
        "function": function,
        "arguments": dict(arguments),
        "parent": os.getpid(),
        "seconds": seconds + _GRACE_SECONDS,
        "cpu_seconds": math.ceil(seconds) + 1,
        "memory_mb": memory_mb,
        "output_chars": output_chars,
        "network": network,
        "platform": _platform.__file__,
        "packages": packages,
        "readable": [*readable, *(_INTERNET if network else ())],
    }


async def _exchange(function: str, job: bytes, folder: str, seconds: float, output_chars: int) -> tuple[bytes, int]:
    """Hand the job to a new process; its answer and its return code. The process is gone when this ends."""
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_CHILD)]
    environment = clean_environment(HOME=folder, TMPDIR=folder, TMP=folder, TEMP=folder)
    process = await anyio.open_process(
        command, stderr=subprocess.DEVNULL, cwd=folder, env=environment, start_new_session=True
    )
    answer = b""
    try:
        with anyio.move_on_after(seconds) as deadline:
            answer = await _talk(process, job, function, most=output_chars * 12 + 20_000)
            await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                _platform.stop_process(process.pid)
            await process.wait()
            await process.aclose()
    # Who looks late finds that the process has ended by itself meanwhile, and has nothing to cancel any more.
    if deadline.cancelled_caught or (not answer and anyio.current_time() >= deadline.deadline):
        raise ToolFailed(f"{function} took longer than {seconds:g} s and was stopped.")
    return answer, cast("int", process.returncode)


async def _talk(process: Process, job: bytes, function: str, most: int) -> bytes:
    stdin, stdout = cast("ByteSendStream", process.stdin), cast("ByteReceiveStream", process.stdout)
    try:
        await stdin.send(job)
        await stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return b""  # it died at once; its return code says how
    parts: list[bytes] = []
    length = 0
    async for part in stdout:
        length += len(part)
        if length > most:
            raise ToolFailed(f"{function} wrote more than it may and was stopped.")
        parts.append(part)
    return b"".join(parts)


def _result(function: str, raw: bytes, code: int) -> str:
    try:
        said = json.loads(raw)
        text = said.get("text")
    except (ValueError, AttributeError):
        raise ToolFailed(f"{function} was stopped before it answered: {_platform.ended_by(code)}.") from None
    if isinstance(text, str):
        return text.encode(errors="replace").decode()  # lone surrogates end here: no later JSON could carry them
    raise ToolFailed(f"{function} failed: {str(said.get('error', 'it gave no answer'))[:2000]}.")
