"""Who the server says it is: all of it to whoever connects, and in each answer only what an answer needs.

Since 2026-07-28 every result carries its server's identity, and the SDK puts all of it there, icon and description too:
more than most answers have to say.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from mcp.types import Icon, RequestParams
from mcp_types import SERVER_INFO_META_KEY

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.context import HandlerResult, ServerRequestContext

    Request = ServerRequestContext[Any, Any]

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="#5b6ee1" stroke="#5b6ee1">\
<path fill="none" d="M4 17 9 5l11 4-6 10z"/><circle cx="4" cy="17" r="2"/><circle cx="9" cy="5" r="2"/>\
<circle cx="20" cy="9" r="2"/><circle cx="14" cy="19" r="2"/></svg>"""
ICON: Final = Icon(
    src=f"data:image/svg+xml;base64,{b64encode(_SVG.encode()).decode()}", mime_type="image/svg+xml", sizes=["any"]
)
"""A constellation, to be seen on light and on dark."""


def brief_in_answers(server: MCPServer[Any]) -> None:
    """Let answers name the server and its version, and only `server/discover` show the rest."""
    low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    whole, discovered = low.server_info_stamp, low._handle_discover  # pyright: ignore[reportPrivateUsage]

    async def discover(ctx: Request, params: RequestParams | None) -> HandlerResult:
        return (await discovered(ctx, params)).model_copy(update={"meta": {SERVER_INFO_META_KEY: {**whole}}})

    low.add_request_handler("server/discover", RequestParams, discover)
    low.__dict__["_server_info_stamp_source"] = {"name": whole["name"], "version": whole["version"]}  # its cache
