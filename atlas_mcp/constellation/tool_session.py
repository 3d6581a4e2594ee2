"""The tools of one agent in one turn: what it is told of them, and a call of one.

Promise: a call gives a text or raises ToolFailed with one, within its deadline and within bounds, whatever the tool
does. What a tool needs outside is opened at its first call, for this turn and this agent only.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from atlas_mcp.constellation.sandbox import run_source
from atlas_mcp.constellation.tool_results import entered, leaving
from atlas_mcp.constellation.tool_source import DOORS, INSIDE
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.errors import AtlasError, ToolFailed
from atlas_mcp.watch import spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from atlas_mcp.constellation.contract import Outside
    from atlas_mcp.constellation.tool import Tool
    from atlas_mcp.constellation.tool_folders import ToolFolders
    from atlas_mcp.constellation.tool_source import ToolSource
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.held import HeldCall

_AT_HOME = frozenset({"pure", "run", "knowledge"})
"""The kinds that give nothing but what they made, or what was looked at when it entered."""
_STAYS = _AT_HOME | {"files"}
"""The kinds whose arguments nobody outside of this machine sees."""

SECONDS = {"pure": 10.0, "network": 30.0, "run": 30.0, "knowledge": 30.0} | dict.fromkeys(DOORS, 60.0)
OUTPUT_CHARS = 20_000


class ToolSession:
    """The tools of one agent in one turn; `has` is what those of the kinds "run" and "knowledge" are handed.

    `reached` are what reaches outside and for whom; without it no tool here needs it.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        has: Mapping[str, Any],
        folders: ToolFolders | None = None,
        reached: tuple[Outside, CallContext] | None = None,
        turn: ToolTurn | None = None,
    ) -> None:
        self.turn = turn or ToolTurn()
        self._tools = tools
        self._has = dict(has)
        self._folders = folders
        self._reached = reached

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the agent's model is told of them."""
        return [tool.spec for tool in self._tools.values()]

    def about(self, name: str) -> dict[str, Any]:
        """Where the tool is from and what it does at worst; nothing of one that is not among these."""
        tool = self._tools.get(name)
        return {"origin": tool.origin, "marks": [*tool.marks]} if tool else {}

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The tool's answer, or that the call waits for approval.

        ToolFailed when it is not one of these, was called wrongly, may not be called here, fails, or takes too long.
        """
        with self._span(name, arguments) as span:
            tool = self._tools.get(name)
            if tool is None:
                raise ToolFailed(f"there is no tool {name!r} for you. There are: {', '.join(self._tools) or 'none'}.")
            if tool.kind not in _STAYS:
                await leaving(self.turn, name, arguments, span, self._reached[1].caller if self._reached else None)
            waits = None if tool.approval == "allow" else await self._held(tool, arguments)
            answer = waits or await self._entered(tool, await self._answer(tool, arguments), span)
            spans.outputs(span, answer)
            return answer

    async def make(self, held: HeldCall) -> str:
        """What a call that was held and approved gives. ToolFailed as for `call`, and where the tool does more now."""
        with self._span(held.tool, held.arguments, held=held.id) as span:
            tool = self._tools.get(held.tool)
            if tool is None:
                raise ToolFailed(f"{held.tool} is not there any more: it was not called.")
            if not set(tool.marks) <= set(held.marks):
                raise ToolFailed(f"{held.tool} does more than when it was approved: it was not called.")
            answer = await self._entered(tool, await self._answer(tool, held.arguments), span)
            spans.outputs(span, answer)
            return answer

    async def _entered(self, tool: Tool, answer: str, span: spans.Span) -> str:
        return await entered(self.turn, tool.name, answer, span, outside=tool.kind not in _AT_HOME)

    def _span(self, name: str, arguments: Mapping[str, Any], **more: str) -> AbstractContextManager[spans.Span]:
        tool = self._tools.get(name)
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        about["atlas.tool.kind"] = tool.kind if tool else "unknown"
        if tool:
            about["atlas.tool.origin"], about["atlas.tool.marks"] = tool.origin, ", ".join(tool.marks)
        about |= {f"atlas.tool.{key}": value for key, value in more.items()}
        return spans.span(f"execute_tool {name}", "TOOL", dict(arguments), **about)

    async def _held(self, tool: Tool, arguments: Mapping[str, Any]) -> str | None:
        """What the agent is told of a call that waits for approval; None where it may be made."""
        if tool.source:
            tool.source.checked(arguments)  # one that cannot be made is not worth a question
        elif tool.outside:
            tool.outside.check(arguments)
        if self.turn.approvals is None:
            raise ToolFailed(
                f"{tool.name} needs the approval of the one you work for, and nobody can be asked here: it was not "
                f'called. Who wants to allow it for good sets approval = "allow" for it in settings.toml, under '
                f'[permissions.tools."{tool.name}"].'
            )
        return await self.turn.approvals.admit(tool, arguments)

    async def _answer(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        if tool.outside is not None and self._reached:
            return _bounded(tool.name, await tool.outside.call(self._reached[1], arguments))
        if tool.source is None:
            raise ToolFailed(f"{tool.name} cannot be reached here.")
        source = tool.source
        values, seconds = source.checked(arguments), SECONDS[source.kind]
        if source.kind not in INSIDE:
            network = source.kind == "network"
            return await run_source(
                source.source, source.name, values, seconds=seconds, network=network, folders=self._folders
            )
        return _bounded(tool.name, await _in_time(source, self._handed(source.kind), values, seconds))

    def _handed(self, kind: str) -> object:
        if kind not in self._has and self._reached:
            outside, context = self._reached
            try:
                self._has[kind] = outside.door(kind, context)
            except AtlasError as error:
                raise ToolFailed(str(error)) from error
        return self._has[kind]


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


def _bounded(name: str, answer: str) -> str:
    if len(answer) > OUTPUT_CHARS:
        raise ToolFailed(f"{name}: its answer has {len(answer):,} characters; the limit is {OUTPUT_CHARS:,}.")
    return answer
