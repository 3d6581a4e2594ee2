"""Runs as resources: `atlas://runs/{run_id}`, its `/result`, and its `/files/{name}` that agents saved; of the caller
only.

Who subscribes hears of each change until the run has ended: of the run with every entry of its journal, of the result
when it becomes another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mcp.server.mcpserver import Context

from atlas_mcp.errors import UnknownRun
from atlas_mcp.model.run import ENDED
from atlas_mcp.server.arguments import MAX_WAIT
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.reading import offer, reading
from atlas_mcp.server.results import RunResult

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Run
    from atlas_mcp.server.subscriptions import Tell, Watch

RUN = "atlas://runs/{run_id}"
RESULT = "atlas://runs/{run_id}/result"
FILE = "atlas://runs/{run_id}/files/{name}"
_ADDRESS = re.compile(r"atlas://runs/([^/?#]+)(/result)?")


class RunResources:
    """The caller's runs; one of another caller does not exist."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def offer(self, server: MCPServer[Any]) -> None:
        """Register all three."""
        about = "How a run stands, with its journal: as get_run gives it."
        offer(server, RUN, self._run, name="run", title="A run", description=about)
        about = "What a run has come to: its result or reply."
        offer(server, RESULT, self._result, name="run_result", title="A run's result", description=about)

        about = "A text that an agent of the run saved, by its name; a result lists them as `files`."
        offer(server, FILE, self._file, name="run_file", title="A file of a run", description=about, mime="text/plain")

    async def _file(self, run_id: str, name: str, ctx: Context) -> str:
        with reading():
            return await self._atlas.outputs.read(caller_of(self._atlas, self._transport, ctx), run_id, unquote(name))

    async def _run(self, run_id: str, ctx: Context) -> str:
        return (await self._found(run_id, ctx)).model_dump_json()

    async def _result(self, run_id: str, ctx: Context) -> str:
        return _came_to(await self._found(run_id, ctx)).model_dump_json()

    async def _found(self, run_id: str, ctx: Context) -> Run:
        with reading():
            return await self._atlas.get_run(caller_of(self._atlas, self._transport, ctx), run_id, wait_seconds=0)

    async def watch(self, caller: Caller, address: str) -> Watch | None:
        """What tells of each change from now on until the run has ended; None for what is no run of the caller."""
        if not (match := _ADDRESS.fullmatch(address)):
            return None
        run_id, of_result = match[1], bool(match[2])
        try:
            run = await self._atlas.get_run(caller, run_id, wait_seconds=0)
        except UnknownRun:
            return None

        async def watch(tell: Tell, run: Run = run) -> None:
            since, came_to = _last(run), _came_to(run)
            while run.status not in ENDED and not self._atlas.draining:  # then nobody is let wait
                run = await self._atlas.get_run(caller, run_id, since=since, wait_seconds=MAX_WAIT)
                since, before, came_to = max(since, _last(run)), came_to, _came_to(run)
                if came_to != before if of_result else run.events:
                    await tell()

        return watch


def _last(run: Run) -> int:
    return run.events[-1].seq if run.events else 0


def _came_to(run: Run) -> RunResult:
    return RunResult.model_validate(run, from_attributes=True)
