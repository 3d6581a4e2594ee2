"""The tools of the agents: those shipped with ATLAS, those in a folder of the user's own, and those of other servers.

Promise: an agent is offered exactly the tools of its pools that work here and that the user lets it have. A broken file
costs a line in `problems`, and so does a name that is taken.

Source of the user's own always runs in the sandbox. It cannot be of a kind that is handed something of ATLAS's: such a
tool gets the run's texts and results, the shared knowledge, or a door with the user's own keys behind it, and works
inside of ATLAS, where nothing would keep a mistake in it from the rest.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_mcp.constellation.run_files import RunDoor, RunFiles
from atlas_mcp.constellation.sandbox import run_source
from atlas_mcp.constellation.tool import OWN, Tool, of_file, of_server
from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.constellation.tool_session import SECONDS, ToolSession
from atlas_mcp.constellation.tool_source import (
    DOORS,
    INSIDE,
    PRIVATE,
    BrokenTool,
    ToolSource,
    read_tool,
    read_unless,
)
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.model.permissions import Permissions
from atlas_mcp.model.plan import Lack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_mcp.constellation.contract import Outside
    from atlas_mcp.constellation.library import Desk, Library
    from atlas_mcp.constellation.tool_folders import ToolFolders
    from atlas_mcp.guard.calling import CallRules
    from atlas_mcp.guard.entering import Entering
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.tool import OutsideTool

__all__ = ["RunFiles", "ToolSession", "Toolbox"]

_PACKAGE = Path(__file__).parent.parent
_SHIPPED = (_PACKAGE / "_tools", _PACKAGE.parent / "tools")  # in a wheel; in a checkout


class Toolbox:
    """The tools there are; `folder` is the user's own, if any. Files are read at the first use, and then no more.

    `folders` are those that tools work in; without them they work in temporary folders of the system. Without `outside`
    no tool reaches outside but those of the user's own. `entering` looks at what tools give, `calls` at what they are
    given to take outside.
    """

    def __init__(
        self,
        folder: Path | None = None,
        folders: ToolFolders | None = None,
        outside: Outside | None = None,
        entering: Entering | None = None,
        calls: CallRules | None = None,
    ) -> None:
        self._folder = folder
        self._folders = folders
        self._outside = outside
        self.entering = entering
        self._calls = calls
        self._library: Library | None = None
        self._theirs: tuple[Sequence[OutsideTool], dict[str, Tool]] = ((), {})

    def knowing(self, library: Library) -> Toolbox:
        """The same tools for one caller, with that caller's shared knowledge."""
        _ = self._loaded  # once for all callers
        mine = copy.copy(self)
        mine._library = library
        return mine

    @property
    def available(self) -> frozenset[str]:
        """Names of all tools that work here."""
        return frozenset(self._tools) | frozenset(self._of_servers)

    @property
    def known(self) -> list[Tool]:
        """Every tool that works here, also those that by the user's word may not be called."""
        return list(self._tools.values())

    @property
    def own_sources(self) -> dict[str, str]:
        """The sources of the user's own tools, by their names."""
        return {name: t.source.source for name, t in self._tools.items() if t.origin == OWN and t.source}

    @property
    def problems(self) -> list[str]:
        """What is wrong with files of the user's own, and with names of other servers' tools, a sentence each."""
        tools = self._outside.tools if self._outside else ()
        taken = [t for t in tools if t.name in self._tools]
        return [
            *self._loaded[1],
            *_unknown_pools(self._permissions),
            *(f"{t.origin}: its tool {t.name} is not offered: there is one of that name already." for t in taken),
        ]

    def session(self, agent: AgentSpec, run: RunFiles | None, turn: ToolTurn | None = None) -> ToolSession:
        """The tools that this agent may use in one turn; without a run, or shared knowledge, none that need it."""
        turn = turn or ToolTurn(run_id=run.run_id if run else None)
        turn.entering, turn.calls = self.entering, self._calls
        pools = pool_matrix().of(agent)
        has = {"run": RunDoor(run) if run else None, "knowledge": self._desk(agent, run)}
        reached = self._reached(agent, turn)
        owner = self._library is None or self._library.caller.owns_home
        closed = frozenset[str]() if owner else PRIVATE
        if not (run and run.folders) and not (self._outside and self._outside.has_folders):
            closed = closed | {"files"}
        mine = {
            name: tool
            for name, tool in self._tools.items()
            if not pools.isdisjoint(tool.pools)
            and tool.approval != "refuse"
            and tool.kind not in closed
            and (tool.kind not in INSIDE or (reached if tool.kind in DOORS else has[tool.kind]))
        }
        if reached:
            theirs = {n: t for n, t in self._of_servers.items() if owner or (t.outside and t.outside.shared)}
            mine |= {n: t for n, t in theirs.items() if not pools.isdisjoint(t.pools)}
        return ToolSession(mine, {k: v for k, v in has.items() if v}, self._folders, reached, turn)

    def _reached(self, agent: AgentSpec, turn: ToolTurn) -> tuple[Outside, CallContext] | None:
        if self._outside is None or self._library is None:
            return None
        if turn.run is not None:
            from atlas_mcp.constellation.approvals import Approvals

            turn.approvals = Approvals(self._outside.record, turn.run, agent.name, turn.key)
        return self._outside, self._outside.context(self._library.caller, agent.name, turn)

    @property
    def _of_servers(self) -> dict[str, Tool]:
        if self._outside is None or not (tools := self._outside.tools):
            return {}
        if self._theirs[0] is not tools:  # looked at by every turn, and the same until a server changes its list
            made = [of_server(t, self._permissions) for t in tools if t.name not in self._tools]
            self._theirs = tools, {tool.name: tool for tool in made if tool.approval != "refuse"}
        return self._theirs[1]

    @property
    def _permissions(self) -> Permissions:
        return self._outside.permissions if self._outside else Permissions()

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
            if name not in self.available
        ]

    def pure(self, agent: AgentSpec) -> list[ToolSource]:
        """The agent's tools that need nothing outside and nobody's approval: a Letta may run them itself."""
        pools = pool_matrix().of(agent)
        return [
            t.source
            for t in self._tools.values()
            if t.kind == "pure" and t.source and t.approval == "allow" and not pools.isdisjoint(t.pools)
        ]

    async def run(self, source: str, function: str, arguments: Mapping[str, Any]) -> str:
        """What a function of a source that a Letta keeps gives; ToolFailed as for a call of a session.

        A pure tool of this toolbox is run as in a session. Any other source counts as written by an agent.
        """
        tool = self._tools.get(function)
        if tool and tool.source and tool.kind == "pure" and tool.source.source == source:
            values = tool.source.checked(arguments)
            return await run_source(source, function, values, seconds=SECONDS["pure"], folders=self._folders)
        return await run_source(
            source, function, arguments, seconds=SECONDS["pure"], trusted=False, folders=self._folders
        )

    @property
    def _tools(self) -> dict[str, Tool]:
        return self._loaded[0]

    @functools.cached_property
    def _loaded(self) -> tuple[dict[str, Tool], list[str]]:
        closed = DOORS - (self._outside.kinds if self._outside else frozenset())
        tools: dict[str, Tool] = {}
        for path in _files(_SHIPPED[0] if _SHIPPED[0].is_dir() else _SHIPPED[1]):
            if source := read_unless(path, closed):
                tools[source.name] = of_file(source, self._permissions, shipped=True)
        problems: list[str] = []
        try:
            own = _files(self._folder) if self._folder else []
        except OSError as error:
            own = []
            problems.append(f"{self._folder}: the folder cannot be read: {(error.strerror or str(error)).lower()}.")
        for path in own:
            try:
                source = _checked(read_tool(path), tools)
                tools[source.name] = of_file(source, self._permissions, shipped=False)
            except BrokenTool as error:
                problems.append(f"{path}: {error}.")
        return tools, problems


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix == ".py" and not p.name.startswith(("_", ".")))


def _unknown_pools(permissions: Permissions) -> list[str]:
    known = pool_matrix().pools
    return [
        f'settings.toml, [permissions.tools."{pattern}"]: there is no pool {pool}; there are {", ".join(known)}.'
        for pattern, rule in permissions.tools.items()
        for pool in rule.pools or ()
        if pool not in known
    ]


_HANDED = {"run": "the run's texts and results", "knowledge": "all shared knowledge"}


def _checked(tool: ToolSource, known: Mapping[str, Tool]) -> ToolSource:
    if tool.kind in INSIDE:
        raise BrokenTool(
            f"a tool of your own cannot be of the kind {tool.kind}: it would work inside of ATLAS, with "
            f"{_HANDED.get(tool.kind, 'what is set for ' + tool.kind)} in hand. Leave KIND out, or use "
            '"network" if it needs the internet'
        )
    if tool.name in known:
        raise BrokenTool(f"there is a tool {tool.name} already; give yours another name")
    if unknown := set(tool.pools) - set(pool_matrix().pools):
        raise BrokenTool(f"there is no pool {', '.join(sorted(unknown))}; there are {', '.join(pool_matrix().pools)}")
    return tool
