"""The MCP server over one Atlas: which tools there are, who is asking, and what the model is told about it all.

The server holds no state of its own: what a call starts belongs to Atlas, so that connections may come and go.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.request_state import RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus
from mcp.types import INVALID_PARAMS

from atlas_mcp.server.asking import STATE_SECONDS
from atlas_mcp.server.auditing import Auditor
from atlas_mcp.server.board.apps import Board, naming_board
from atlas_mcp.server.caller import Door, Transport, caller_of
from atlas_mcp.server.completion import Completion
from atlas_mcp.server.identity import ICON, brief_in_answers
from atlas_mcp.server.instructions import instructions
from atlas_mcp.server.limiting import Limited
from atlas_mcp.server.prompts import Prompts
from atlas_mcp.server.resources import Resources
from atlas_mcp.server.run_tasks import RunTasks
from atlas_mcp.server.scopes import Scopes
from atlas_mcp.server.subscriptions import watching
from atlas_mcp.server.tasks import Tasks
from atlas_mcp.server.texts import named_briefly
from atlas_mcp.server.toolsets import Offer, Toolset, tools_of

if TYPE_CHECKING:
    from mcp.server.auth.settings import AuthSettings
    from mcp.server.caching import CacheableMethod
    from mcp.server.mcpserver import Context
    from mcp.server.mcpserver.tools import Tool
    from mcp.types import GetPromptResult, InputRequiredResult, Resource

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.conformance import Fixtures
    from atlas_mcp.server.tasks import Work

__all__ = ["Offer", "Server", "Toolset", "create_server"]

_FRESH: CacheHint = CacheHint(ttl_ms=300_000)
"""What is listed stays as it is while a server runs, and may be another after it was started anew. Listings differ by
what a caller was granted: nobody else's client may keep them."""
_LISTED: tuple[CacheableMethod, ...] = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")


class Server(MCPServer[Any]):
    """The SDK's server, with resources that are listed by address though each caller finds their own behind it."""

    resources: Resources

    async def list_resources(self) -> list[Resource]:
        """Those that are the same for everybody, and where to begin with one's own."""
        return [*await super().list_resources(), *self.resources.listed()]

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """The prompt, filled in; MCPError for one that there is not."""
        known = [prompt.name for prompt in await self.list_prompts()]
        if name not in known:
            raise MCPError(INVALID_PARAMS, f"there is no prompt {name!r}. There are: {', '.join(known) or 'none'}.")
        return await super().get_prompt(name, arguments, context)


def create_server(atlas: Atlas, *, transport: Transport, toolset: Offer = "core", conformance: bool = False) -> Server:
    """The server, ready to run on stdio or to be mounted by `create_app`.

    `toolset` is one of them, or the names of the tools to offer: InvalidInput for one that there is not. With "http"
    every request needs a bearer token; this creates the home's own key when there is none yet. `conformance` adds what
    the protocol's official test suite calls, and nobody else should.
    """
    # The SDK would install a handler of its own that writes whole tracebacks in boxes.
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    guarded = transport == "http"
    news = InMemorySubscriptionBus()
    works: list[Work] = [RunTasks(atlas, transport)]
    tools = tools_of(atlas, transport, toolset)
    names = [tool.name for tool in tools]
    fixtures = _fixtures() if conformance else None
    if fixtures:
        works.append(fixtures.jobs)
        tools += fixtures.tools()
    server = Server(
        "atlas",
        title="ATLAS",
        description="A constellation of persistent agents: talk to one, set teams to work, read what they remember.",
        instructions=instructions(names),
        icons=[ICON],
        version=atlas.version,
        tools=tools,
        extensions=[Tasks(works), Board()],
        cache_hints=dict.fromkeys(_LISTED, _FRESH),
        request_state_security=RequestStateSecurity.ephemeral(ttl=STATE_SECONDS),
        lifespan=watching,
        subscriptions=news,
        log_level="WARNING",
        token_verifier=Door(atlas) if guarded else None,
        auth=_auth(atlas) if guarded else None,
    )
    server.resources = Resources(atlas, transport)
    # The first place is the SDK's own tracing, which ours replaces.
    server.middleware[0] = atlas.tracing_of(lambda ctx: caller_of(atlas, transport, ctx).id)
    server.middleware.append(Auditor(atlas, transport, {tool.name for tool in tools if _only_reads(tool)}))
    if guarded:
        atlas.access.home_key()
        server.middleware.extend([Scopes(atlas, transport), Limited(atlas, transport)])
    server.middleware.extend([naming_board, named_briefly])
    server.resources.offer(server, news)
    for prompt in Prompts(atlas, transport).offered(names):
        server.add_prompt(prompt)
    Completion(atlas, transport).offer(server)
    brief_in_answers(server)
    if fixtures:
        fixtures.offer(server)
    return server


def _only_reads(tool: Tool) -> bool:
    return tool.annotations is not None and tool.annotations.read_only_hint is True


def _auth(atlas: Atlas) -> AuthSettings:
    from atlas_mcp.server.guarding import auth_settings

    return auth_settings(atlas.access.login_rules)


def _fixtures() -> Fixtures:
    from atlas_mcp.server.conformance import Fixtures

    return Fixtures()
