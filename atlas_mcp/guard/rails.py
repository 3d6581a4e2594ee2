"""The user's own rails: NeMo Guardrails with their configuration, in a process beside the server.

Promise: the process is started by the first text that is to be checked, and killed with the server; a check that takes
longer than its deadline kills it, and the next one starts it anew. It is given no key of ATLAS but those of the model
providers, and reports its use to nobody. Input rails judge what enters, output rails what leaves; a rail that stops a
text, or would alter it, has not let it pass: ATLAS does not rewrite what agents say.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import anyio

from atlas_mcp.errors import ConfigurationError, MissingPackage, Unavailable
from atlas_mcp.model.guard import Finding
from atlas_mcp.model.secrets import hidden

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from anyio.abc import Process, TaskGroup

    from atlas_mcp.guard.layers import About
    from atlas_mcp.model.guard import Direction, LayerName

START_SECONDS: Final = 90.0
CHECK_SECONDS: Final = 60.0
REST_SECONDS: Final = 10.0
"""For so long after a failed start the reason is told again, and no new one is made."""

_QUIET = {"NEMO_GUARDRAILS_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
_MOST_SAID = 300
_log = logging.getLogger(__name__)
_SEE = "See logs/rails.log in the home folder, and mend ATLAS_GUARD_RAILS."


def check_folder(folder: Path) -> None:
    """Raise ConfigurationError unless it holds a configuration, and MissingPackage without the package."""
    if not any((folder / name).is_file() for name in ("config.yml", "config.yaml")):
        raise ConfigurationError(
            f"there is no config.yml in {folder}.",
            argument="ATLAS_GUARD_RAILS",
            next_step="Name the folder with NeMo Guardrails' configuration: config.yml, and *.co files.",
        )
    if find_spec("nemoguardrails") is None:
        raise MissingPackage("nemoguardrails", "rails")


@dataclass
class _Child:
    """The process at work: who waits for which answer, and what came."""

    process: Process
    there: dict[str, bool]
    waiting: dict[int, anyio.Event] = field(default_factory=dict[int, anyio.Event])
    answers: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])
    ended: bool = False


class Rails:
    """The layer. `environment` is what its process is given, `log` where what it prints goes."""

    name: LayerName = "rails"

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        *,
        start_seconds: float = START_SECONDS,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self.folder = folder
        self._environment = {**environment, **_QUIET}
        self._log = log
        self._start_seconds, self._check_seconds = start_seconds, check_seconds
        self._tasks: TaskGroup | None = None
        self._child: _Child | None = None
        self._starting = anyio.Lock()
        self._failed: tuple[float, str] | None = None
        self._numbers = count(1)
        self.problem = ""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """The process may be started while the body runs, and is gone when it is left."""
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            finally:
                if self._child is not None:
                    self._kill(self._child)
                self._tasks.cancel_scope.cancel()
        self._tasks = None

    async def check(self, text: str, direction: Direction, about: About) -> Sequence[Finding]:
        """What the rails of that direction say. Unavailable where they cannot be asked."""
        try:
            told = await self._told(text, direction, about)
        except Unavailable as error:
            self.problem = error.message.rstrip(".")
            raise
        self.problem = ""
        if told["status"] == "passed":
            return ()
        said = hidden(str(told["content"]))[:_MOST_SAID]
        blocked = told["status"] == "blocked"
        why = f"the rail stopped it, saying: {said}" if blocked else "a rail would have altered it"
        rule = str(told["rail"] or told["status"])[:80]
        return (Finding(layer="rails", rule=rule, severity="high", action="refuse", text=why),)

    async def _told(self, text: str, direction: Direction, about: About) -> dict[str, Any]:
        child = await self._ready()
        if not child.there["input" if direction == "entering" else "output"]:
            return {"status": "passed"}
        told = await self._asked(child, {"direction": direction, "text": text, "task": about.task or about.kind})
        if "error" in told:
            raise Unavailable(f"the rails failed: {hidden(str(told['error']))[:_MOST_SAID]}", next_step=_SEE)
        return told

    async def _asked(self, child: _Child, asked: dict[str, Any]) -> dict[str, Any]:
        number, came = next(self._numbers), anyio.Event()
        child.waiting[number] = came
        try:
            with anyio.fail_after(self._check_seconds):
                if child.process.stdin is not None:
                    await child.process.stdin.send(json.dumps({"id": number, **asked}).encode() + b"\n")
                await came.wait()
        except TimeoutError:
            self._kill(child)
            raise Unavailable(f"the rails gave no verdict within {self._check_seconds:g} s", next_step=_SEE) from None
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            child.ended = True
        finally:
            child.waiting.pop(number, None)
        if number not in child.answers:
            raise Unavailable("the rails' process ended before it answered", next_step=_SEE)
        return child.answers.pop(number)

    async def _ready(self) -> _Child:
        async with self._starting:
            if self._child is not None and not self._child.ended:
                return self._child
            if self._failed and monotonic() - self._failed[0] < REST_SECONDS:
                raise Unavailable(self._failed[1], next_step=_SEE)
            try:
                with anyio.fail_after(self._start_seconds):
                    self._child = await self._start()
                    return self._child
            except TimeoutError:
                why = f"the rails were not ready within {self._start_seconds:g} s"
            except (OSError, ValueError) as error:
                why = f"the rails did not start: {hidden(str(error))[:_MOST_SAID]}"
            self._failed = (monotonic(), why)
            raise Unavailable(why, next_step=_SEE)

    async def _start(self) -> _Child:
        if self._tasks is None:
            raise ValueError("they are closed")
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log.touch(mode=0o600)
        command = [sys.executable, "-P", "-m", "atlas_mcp.guard.rails_child", str(self.folder)]
        with self._log.open("wb") as errors:
            process = await anyio.open_process(
                command, stderr=errors, env=self._environment, cwd=self._log.parent, start_new_session=True
            )
        lines = _Lines(process)
        try:
            first = json.loads(await lines.next() or '{"error": "it ended at once"}')
            if "ready" not in first:
                raise ValueError(first["error"])
        except BaseException:  # a deadline, too
            await _gone(process)
            raise
        child = _Child(process, first["ready"])
        self._tasks.start_soon(self._hear, child, lines)
        return child

    async def _hear(self, child: _Child, lines: _Lines) -> None:
        try:
            while line := await lines.next():
                told = json.loads(line)
                if (came := child.waiting.get(told["id"])) is not None:
                    child.answers[told["id"]] = told
                    came.set()
        except (ValueError, KeyError, TypeError):  # no answer of ours: what follows cannot be trusted either
            _log.warning("the rails' process wrote what is no answer, and is ended")
        finally:
            child.ended = True
            for came in child.waiting.values():
                came.set()
            await _gone(child.process)

    def _kill(self, child: _Child) -> None:
        """Kill that one, not one that was started in its place meanwhile."""
        child.ended = True
        _end(child.process)


def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()


async def _gone(process: Process) -> None:
    """Kill it, and leave nothing of it behind."""
    with anyio.CancelScope(shield=True):
        _end(process)
        await process.aclose()


class _Lines:
    """The lines that a process writes; an empty one when it ended."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rest = b""

    async def next(self) -> bytes:
        """The next line."""
        while b"\n" not in self._rest:
            try:
                if self._process.stdout is None:
                    return b""
                self._rest += await self._process.stdout.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return b""
        line, _, self._rest = self._rest.partition(b"\n")
        return line
