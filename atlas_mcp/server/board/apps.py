"""The run board in hosts that show pages (MCP Apps): the resource, and which tools it belongs to.

Only a client that declares the extension hears which page shows a run; to all others the tools are what they were. The
page is read when a host asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcp.server.extension import Extension, ResourceBinding
from mcp.server.mcpserver.resources import Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    Request = ServerRequestContext[Any, Any]

EXTENSION: Final = "io.modelcontextprotocol/ui"
PAGE_TYPE: Final = "text/html;profile=mcp-app"
BOARD: Final = "ui://atlas/board.html"
SHOWN_BY: Final = frozenset({"run_team_task", "get_run"})
"""The tools whose call a host shows with the board."""


class _Page(Resource):
    async def read(self) -> str:
        from atlas_mcp.server.board.page import board_page

        return board_page()


class Board(Extension):
    """The extension, with the board as its one page. The SDK's own module for it takes long to import."""

    identifier = EXTENSION

    def resources(self) -> Sequence[ResourceBinding]:
        """The board."""
        page = _Page(
            uri=BOARD,
            name="board",
            title="Run board",
            description="A page on which a host shows a team at work.",
            mime_type=PAGE_TYPE,
            meta={"ui": {"csp": {"connectDomains": [], "resourceDomains": []}, "prefersBorder": True}},
        )
        return [ResourceBinding(page)]


async def naming_board(ctx: Request, call_next: CallNext) -> HandlerResult:
    """The middleware that says in a listing which page shows what a tool gives, to clients that can show it."""
    result = await call_next(ctx)
    if ctx.method != "tools/list" or not isinstance(result, dict) or not _shows_pages(ctx):
        return result
    return {**result, "tools": [_named(tool) if tool["name"] in SHOWN_BY else tool for tool in result["tools"]]}


def _shows_pages(ctx: Request) -> bool:
    capabilities = ctx.session.client_capabilities
    declared = (capabilities.extensions if capabilities else None) or {}
    return PAGE_TYPE in (declared.get(EXTENSION) or {}).get("mimeTypes", [])


def _named(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "_meta": {**tool.get("_meta", {}), "ui": {"resourceUri": BOARD}}}
