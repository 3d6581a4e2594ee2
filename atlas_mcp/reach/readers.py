"""Processes that read what strangers wrote: pages, PDFs, documents.

Promise: whatever the bytes do to the library that reads them, they cost their caller one ToolFailed at the most. A job
has a deadline at which its process is killed, as on cancellation, and bounded memory; where the kernel has the means,
the process reads no file but Python's own and its packages', writes none, reaches no network and starts no process.
Processes are started when first needed and kept for the next job; as many work at once as there are processors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from atlas_mcp.errors import ToolFailed
from atlas_mcp.store import _platform
from atlas_mcp.store.interpreter import clean_environment, python_paths

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

_CHILD = Path(__file__).with_name("_reader_child.py")
_ROOT = Path(__file__).parents[2]
_MEMORY_MB = 1_000
_CPU_SECONDS = 600
_JOBS, _SECONDS = 200, 300.0
"""How many jobs a process does, or how long it works, before it is replaced: no library's leak grows, and no job is
ended because those before it used the processor up."""
_MOST_ANSWER = 100_000_000


class TookTooLong(ToolFailed):
    """Raised when a job was not done at its deadline."""


class Readers:
    """The processes; `close` ends them."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(os.cpu_count() or 1)
        self._idle: list[_Reader] = []
        self._closed = False

    async def call(self, function: str, body: bytes, *, seconds: float, **options: Any) -> Any:
        """What the function "module:name" gives for those bytes, as JSON can carry it.

        `options` are its other arguments, as JSON can carry them. Raises TookTooLong when it takes longer than
        `seconds`, and ToolFailed when it raises (a class called Unreadable: with its text as it stands), takes more
        memory than it may, or crashes. A job that waits for a process has not begun.
        """
        header = json.dumps({"function": function, "options": options, "bytes": len(body)}).encode()
        async with self._limiter:
            reader = self._idle.pop() if self._idle else await _start()
            said: dict[str, Any] | None = None
            try:
                with anyio.move_on_after(seconds) as deadline:
                    said = await reader.ask(header, body)
            finally:
                if said is None or self._closed or reader.is_worn:
                    await reader.end()
                else:
                    self._idle.append(reader)
        if deadline.cancelled_caught:
            raise TookTooLong(f"reading it took longer than {seconds:g} s and was given up.")
        if said is None:
            raise ToolFailed(f"reading it failed: {reader.ended()}.")
        if "error" in said:
            raise ToolFailed(f"{str(said['error']).rstrip('.')}.")
        return said["value"]

    async def close(self) -> None:
        """End all processes; those at work when their job is over."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()


class _Reader:
    """One process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._answers = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))
        self._jobs = 0
        self._worked = 0.0

    @property
    def is_worn(self) -> bool:
        """Whether it has worked long enough."""
        return self._jobs >= _JOBS or self._worked >= _SECONDS

    async def ask(self, header: bytes, body: bytes) -> dict[str, Any] | None:
        """The answer to one job; None when the process ended instead, or said what is none."""
        jobs, began = cast("ByteSendStream", self._process.stdin), anyio.current_time()
        try:
            await jobs.send(len(header).to_bytes(8, "big") + header)
            await jobs.send(body)
            length = int.from_bytes(await self._answers.receive_exactly(8), "big")
            said = json.loads(await self._answers.receive_exactly(length)) if length <= _MOST_ANSWER else None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            await self._process.wait()
            return None
        except (ValueError, RecursionError):  # whoever wrote the bytes writes the answers too, if a library let him
            return None
        self._jobs, self._worked = self._jobs + 1, self._worked + anyio.current_time() - began
        return cast("dict[str, Any]", said) if isinstance(said, dict) and {"value", "error"} & {*said} else None

    async def end(self) -> None:
        """Kill the process, if it still runs, and wait until it is gone."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                _platform.stop_process(self._process.pid)
            await self._process.wait()
            await self._process.aclose()

    def ended(self) -> str:
        """How it ended."""
        return _platform.ended_by(cast("int", self._process.returncode))


async def _start() -> _Reader:
    readable, packages = python_paths()
    given = {
        "path": [*packages, str(_ROOT)],
        "readable": [*readable, str(_ROOT / "atlas_mcp")],
        "parent": os.getpid(),
        "memory_mb": _MEMORY_MB,
        "cpu_seconds": _CPU_SECONDS,
    }
    command = [sys.executable, "-I", "-B", "-X", "utf8", str(_CHILD), json.dumps(given)]
    process = await anyio.open_process(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=clean_environment(), start_new_session=True
    )
    return _Reader(process)
