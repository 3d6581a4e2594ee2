"""Completion: the names that a person may mean while they type an argument of a prompt or of a resource's address.

At most MOST names of the caller's own, and how many there are in all. An argument of a known prompt or template that
nothing is known of has none; a prompt or template that is not there is refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.types import INVALID_PARAMS, CompleteRequestParams, CompleteResult, PromptReference
from mcp.types import Completion as Values

from atlas_mcp.errors import AtlasError
from atlas_mcp.server.caller import Transport, caller_of

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.context import HandlerResult, ServerRequestContext

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller

    Request = ServerRequestContext[Any, Any]

_log = logging.getLogger(__name__)


class Completion:
    """The completion of one server."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    def offer(self, server: MCPServer[Any]) -> None:
        """Register it; the SDK's own way does not say who asks."""

        async def complete(ctx: Request, params: CompleteRequestParams) -> HandlerResult:
            await _check(server, params)
            return CompleteResult(completion=await self._values(ctx, params))

        low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
        low.add_request_handler("completion/complete", CompleteRequestParams, complete)

    async def _values(self, ctx: Request, params: CompleteRequestParams) -> Values:
        chosen = (params.context.arguments if params.context else None) or {}
        try:
            caller = caller_of(self._atlas, self._transport, ctx)
            names, total = await self._named(caller, params.argument.name, params.argument.value, chosen)
        except AtlasError as error:
            # A person is typing: an error box at every key would tell them nothing that the call itself will not tell
            # better. No total is given, so that nothing is claimed of how many there are.
            _log.warning("nothing could be completed: %s", error)
            return Values(values=[])
        return Values(values=names, total=total, has_more=total > len(names))

    async def _named(self, caller: Caller, argument: str, typed: str, chosen: dict[str, str]) -> tuple[list[str], int]:
        names = self._atlas.names
        match argument:
            case "agent":
                return await names.agents(caller, typed)
            case "team":
                return await names.teams(caller, typed)
            case "to":
                return await names.everybody(caller, typed)
            case "label":
                return await names.labels(caller, typed, chosen.get("agent") or None)
            case "run_id":
                return await names.runs(caller, typed)
            case _:
                return [], 0


async def _check(server: MCPServer[Any], params: CompleteRequestParams) -> None:
    if isinstance(params.ref, PromptReference):
        what, name = "prompt", params.ref.name
        known = [prompt.name for prompt in await server.list_prompts()]
    else:
        what, name = "resource template", params.ref.uri
        known = [template.uri_template for template in await server.list_resource_templates()]
    if name not in known:
        raise MCPError(INVALID_PARAMS, f"there is no {what} {name!r}. There are: {', '.join(known) or 'none'}.")
