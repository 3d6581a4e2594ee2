"""The tools of the agents: those shipped with ATLAS and those in a folder of the user's own.

Promise: an agent is offered exactly the tools of its pools that work here. A call gives a text or raises ToolFailed
with one, within its deadline and within bounds, whatever the tool does. A broken file costs a line in `problems`.

Source of the user's own always runs in the sandbox. It cannot be of the kinds "run" and "knowledge": such a tool gets
the run's texts and results, or the shared knowledge, in hand and works inside of ATLAS, where nothing would keep a
mistake in it from the rest.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from atlas_mcp.constellation.run_files import RunDoor, RunFiles
from atlas_mcp.constellation.sandbox import run_source
from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.constellation.tool_source import INSIDE, BrokenTool, ToolSource, read_tool
from atlas_mcp.errors import AtlasError, ToolFailed
from atlas_mcp.model.plan import Lack
from atlas_mcp.watch import spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atlas_mcp.constellation.library import Desk, Library
    from atlas_mcp.constellation.tool_folders import ToolFolders
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.model.turn import ToolSpec

__all__ = ["RunFiles", "ToolSession", "Toolbox"]

_PACKAGE = Path(__file__).parent.parent
_SHIPPED = (_PACKAGE / "_tools", _PACKAGE.parent / "tools")  # in a wheel; in a checkout
_SECONDS = {"pure": 10.0, "network": 30.0, "run": 30.0, "knowledge": 30.0}
_OUTPUT_CHARS = 20_000


@dataclass(frozen=True)
class _Tool:
    """A tool that is ready: what its file says, and whether it came with ATLAS."""

    source: ToolSource
    shipped: bool


class Toolbox:
    """The tools there are; `folder` is the user's own, if any. Files are read at the first use, and then no more.

    `folders` are those that tools work in; without them they work in temporary folders of the system.
    """

    def __init__(self, folder: Path | None = None, folders: ToolFolders | None = None) -> None:
        self._folder = folder
        self._folders = folders
        self._library: Library | None = None

    def knowing(self, library: Library) -> Toolbox:
        """The same tools for one caller, with that caller's shared knowledge."""
        mine = copy.copy(self)
        mine._library = library
        return mine

    @property
    def available(self) -> frozenset[str]:
        """Names of all tools that work here."""
        return frozenset(self._tools)

    @property
    def own_sources(self) -> dict[str, str]:
        """The sources of the user's own tools, by their names."""
        return {name: tool.source.source for name, tool in self._tools.items() if not tool.shipped}

    @property
    def problems(self) -> list[str]:
        """What is wrong with files of the user's own, a sentence each."""
        return self._loaded[1]

    def session(self, agent: AgentSpec, run: RunFiles | None) -> ToolSession:
        """The tools that this agent may use in one turn; without a run, or shared knowledge, none that need it."""
        pools = pool_matrix().of(agent)
        has = {"run": RunDoor(run) if run else None, "knowledge": self._desk(agent, run)}
        mine = {
            name: tool
            for name, tool in self._tools.items()
            if pools & set(tool.source.pools) and (tool.source.kind not in INSIDE or has[tool.source.kind])
        }
        return ToolSession(mine, has, self._folders)

    def _desk(self, agent: AgentSpec, run: RunFiles | None) -> Desk | None:
        if self._library is None:
            return None
        if run is None:
            return self._library.desk(agent.name, team=agent.team)
        return self._library.desk(agent.name, team=agent.team, run_id=run.run_id, materials=run.materials)

    def lacks(self, agent: AgentSpec) -> list[Lack]:
        """What the agent needs for its work and has not got here, and how to add it."""
        how = pool_matrix().addable
        general = (
            "Put a file {name}.py with a function of that name into your tools folder (ATLAS_TOOLS), and start again."
        )
        return [
            Lack(
                what=name,
                why=f"{agent.name} works with it, and there is no such tool here",
                how_to_add=how.get(name, general).replace("{name}", name),
            )
            for name in agent.needs
            if name not in self._tools
        ]

    def pure(self, agent: AgentSpec) -> list[ToolSource]:
        """The agent's tools that need nothing outside: a Letta may run them itself."""
        pools = pool_matrix().of(agent)
        return [t.source for t in self._tools.values() if t.source.kind == "pure" and pools & set(t.source.pools)]

    async def run(self, source: str, function: str, arguments: Mapping[str, Any]) -> str:
        """What a function of a source that a Letta keeps gives; ToolFailed as for a call of a session.

        A pure tool of this toolbox is run as in a session. Any other source counts as written by an agent.
        """
        tool = self._tools.get(function)
        if tool and tool.source.kind == "pure" and tool.source.source == source:
            values = tool.source.checked(arguments)
            return await run_source(source, function, values, seconds=_SECONDS["pure"], folders=self._folders)
        return await run_source(
            source, function, arguments, seconds=_SECONDS["pure"], trusted=False, folders=self._folders
        )

    @property
    def _tools(self) -> dict[str, _Tool]:
        return self._loaded[0]

    @functools.cached_property
    def _loaded(self) -> tuple[dict[str, _Tool], list[str]]:
        tools: dict[str, _Tool] = {}
        for path in _files(_SHIPPED[0] if _SHIPPED[0].is_dir() else _SHIPPED[1]):
            tool = read_tool(path)
            tools[tool.name] = _Tool(tool, shipped=True)
        problems: list[str] = []
        try:
            own = _files(self._folder) if self._folder else []
        except OSError as error:
            own = []
            problems.append(f"{self._folder}: the folder cannot be read: {(error.strerror or str(error)).lower()}.")
        for path in own:
            try:
                tool = _checked(read_tool(path), tools)
                tools[tool.name] = _Tool(tool, shipped=False)
            except BrokenTool as error:
                problems.append(f"{path}: {error}.")
        return tools, problems


class ToolSession:
    """The tools of one agent in one turn."""

    def __init__(self, tools: Mapping[str, _Tool], has: Mapping[str, Any], folders: ToolFolders | None = None) -> None:
        self._tools = tools
        self._has = has
        self._folders = folders

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the agent's model is told of them."""
        return [tool.source.spec for tool in self._tools.values()]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The tool's answer. ToolFailed when it is not one of these, was called wrongly, fails, or takes too long."""
        kind = self._tools[name].source.kind if name in self._tools else "unknown"
        inputs, marks = dict(arguments), {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        with spans.span(f"execute_tool {name}", "TOOL", inputs, **marks, **{"atlas.tool.kind": kind}) as span:
            answer = await self._answer(name, arguments)
            spans.outputs(span, answer)
            return answer

    async def _answer(self, name: str, arguments: Mapping[str, Any]) -> str:
        tool = self._tools.get(name)
        if tool is None:
            raise ToolFailed(f"there is no tool {name!r} for you. There are: {', '.join(self._tools) or 'none'}.")
        values, source = tool.source.checked(arguments), tool.source
        seconds = _SECONDS[source.kind]
        if source.kind not in INSIDE:
            network = source.kind == "network"
            return await run_source(
                source.source, name, values, seconds=seconds, network=network, folders=self._folders
            )
        answer = await _in_time(source, self._has[source.kind], values, seconds)
        if len(answer) > _OUTPUT_CHARS:
            raise ToolFailed(f"{name}: its answer has {len(answer):,} characters; the limit is {_OUTPUT_CHARS:,}.")
        return answer


async def _in_time(source: ToolSource, door: object, values: dict[str, Any], seconds: float) -> str:
    """Execute a tool that works on what the door opens, such as the run: here, and shipped ones only."""
    function = _function(source.name, source.source)
    try:
        with anyio.fail_after(seconds):
            if source.asynchronous:
                return await function(door, **values)
            call = functools.partial(function, door, **values)
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    except TimeoutError:
        raise ToolFailed(f"{source.name} took longer than {seconds:g} s and was given up.") from None
    except ToolFailed:
        raise
    except AtlasError as error:
        raise ToolFailed(f"{source.name}: {error}") from error
    except ValueError as error:  # how the tools refuse an argument
        raise ToolFailed(f"{source.name}: {error}.") from error
    except Exception as error:
        raise ToolFailed(f"{source.name} failed: {type(error).__name__}: {str(error)[:1000]}.") from error


@functools.cache
def _function(name: str, source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"__name__": f"tool_{name}"}
    exec(compile(source, f"tools/{name}.py", "exec"), names)  # noqa: S102 - our own, read from our files
    return names[name]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix == ".py" and not p.name.startswith(("_", ".")))


def _checked(tool: ToolSource, known: Mapping[str, _Tool]) -> ToolSource:
    if tool.kind in INSIDE:
        what = "the run's texts and results" if tool.kind == "run" else "all shared knowledge"
        raise BrokenTool(
            f"a tool of your own cannot be of the kind {tool.kind}: it would work inside of ATLAS, with {what} in "
            'hand. Leave KIND out, or use "network" if it needs the internet'
        )
    if tool.name in known:
        raise BrokenTool(f"there is a tool {tool.name} already; give yours another name")
    if unknown := set(tool.pools) - set(pool_matrix().pools):
        raise BrokenTool(f"there is no pool {', '.join(sorted(unknown))}; there are {', '.join(pool_matrix().pools)}")
    return tool
