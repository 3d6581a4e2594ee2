"""The Chroma process as its server sees it: it is started, asked, and stopped.

Promise: whatever becomes of Chroma, asking ends with an answer or with ChromaFailed within the seconds given. When the
block is left in peace the process closes Chroma by itself; when it failed, it is killed.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory.chroma import wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from anyio.abc import ByteSendStream, Process

_CLOSE_SECONDS = 4.0
_LOG_BYTES = 1 << 20
_KEPT = ("PATH", "HOME", "USERPROFILE", "LANG", "LC_", "TMP", "TEMP", "SYSTEMROOT")
_PYTHONS = ("PYTHON", "VIRTUAL_ENV", "LD_", "DYLD_", "SSL_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead)


class ChromaFailed(StoreUnavailable):
    """Raised when Chroma could not do it, or not in time; the record answers instead."""

    def __init__(self, message: str, problem: wire.Problem | Literal["hanging"] = "failed") -> None:
        super().__init__(message, next_step="Nothing is lost: the record has all vectors. See logs/chroma.log.")
        self.problem = problem


class _Asked:
    """Somebody who waits for an answer."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.answer: tuple[dict[str, Any], bytes] | None = None


class ChromaProcess:
    """A running one; made by `started`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: dict[int, _Asked] = {}
        self._last = 0
        self._sending = anyio.Lock()
        self.ended = anyio.Event()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def ask(self, do: str, numbers: bytes = b"", *, seconds: float, **given: Any) -> tuple[dict[str, Any], bytes]:
        """What it answers. ChromaFailed otherwise."""
        self._last += 1
        number, asked = self._last, _Asked()
        self._waiting[number] = asked
        try:
            with anyio.move_on_after(seconds):
                await self._send(wire.packed({"id": number, "do": do, **given}, numbers))
                await asked.answered.wait()
        finally:
            del self._waiting[number]
        if asked.answer is None:
            if self.ended.is_set():
                raise ChromaFailed("the Chroma process ended unexpectedly.")
            raise ChromaFailed(f"Chroma did not answer within {seconds:g} s.", "hanging")
        header, answer = asked.answer
        if "error" in header:
            raise ChromaFailed(str(header["error"]), header["problem"])
        return header, answer

    async def _send(self, message: bytes) -> None:
        stdin = cast("ByteSendStream", self._process.stdin)
        async with self._sending:
            try:
                await stdin.send(message)  # cancelled, it is still sent whole: it waits in asyncio's buffer
            except _GONE:
                self.ended.set()

    async def listen(self) -> None:
        """Hand the answers to those who asked, until it ends."""
        stdout = BufferedByteReceiveStream(cast("Any", self._process.stdout))
        try:
            while True:
                header, answer = await wire.receive(stdout)
                if asked := self._waiting.get(header["id"]):
                    asked.answer = header, answer
                    asked.answered.set()
        except (*_GONE, ValueError, struct.error):
            pass  # it ended, or writes what is no answer, which is as bad
        finally:
            self.ended.set()
            for asked in self._waiting.values():
                asked.answered.set()

    async def stop(self, *, in_peace: bool) -> None:
        """Let it close Chroma, for some seconds at most, or kill it at once."""
        if in_peace:
            with anyio.move_on_after(_CLOSE_SECONDS):
                await cast("ByteSendStream", self._process.stdin).aclose()
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._process.aclose()


@asynccontextmanager
async def started(home: Path) -> AsyncGenerator[ChromaProcess]:
    """A Chroma process that nothing is open in yet."""
    folder = home / "chroma"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "atlas_mcp.memory.chroma.child"]
    with _log(home).open("ab") as log:
        # A session of its own: what ends the host's whole group must not end Chroma in the middle of a write.
        process = await anyio.open_process(
            command, stderr=log, cwd=folder, env=_environment(), start_new_session=True
        )  # fmt: skip
    chroma = ChromaProcess(process)
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chroma.listen)
        try:
            yield chroma
        except Exception as error:  # noqa: BLE001 - raised again below: a task group would wrap it in a group
            failure = error
        finally:
            with anyio.CancelScope(shield=True):
                await chroma.stop(in_peace=failure is None)
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _environment() -> dict[str, str]:
    """Without secrets, and without what chromadb would take for its settings."""
    kept = {k: v for k, v in os.environ.items() if k.startswith((*_KEPT, *_PYTHONS)) or k.upper() in _PROXIES}
    return kept | {"ORT_DISABLE_TELEMETRY": "1", "ANONYMIZED_TELEMETRY": "False", "PYTHONUTF8": "1"}


def _log(home: Path) -> Path:
    """What the process says; the last megabyte is kept, and the one before it."""
    folder = home / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "chroma.log"
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(folder / "chroma.log.1")
    path.touch(mode=0o600)
    return path
