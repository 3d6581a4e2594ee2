"""The run board over HTTP: `/board`, for people without a host that shows pages.

What the page asks goes through `/board/mcp` to `/mcp` with the token that its user signed in with: what it may do,
whose runs it sees, limits, audit and an end of the key are the same as for any client. That door takes only the calls
the board makes, of pages of this server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from atlas_mcp.server.board.signing_in import HEADERS, SigningIn

if TYPE_CHECKING:
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.routing import BaseRoute
    from starlette.types import Receive, Scope, Send

    from atlas_mcp.atlas import Atlas

CALLS: Final = frozenset({"list_runs", "get_run", "list_agents", "answer_run", "cancel_run"})
_VERSION: Final = "2026-07-28"  # the first in which headers must say what a request is, and are held to it


def board_routes(atlas: Atlas, security: TransportSecuritySettings) -> list[BaseRoute]:
    """The board's addresses; `security` says by which names it may be called."""
    door = SigningIn(atlas, security)

    async def page(request: Request) -> Response:
        """The board for who is signed in, else where to sign in."""
        from atlas_mcp.server.board.page import board_page, board_policy

        if (refused := await door.refused(request)) is not None:
            return refused
        if await door.token(request) is None:
            return door.page(request)
        return HTMLResponse(board_page(), headers=HEADERS | {"Content-Security-Policy": board_policy()})

    return [
        Route("/board", page, methods=["GET"]),
        Route("/board/login", door.login, methods=["POST"]),
        Route("/board/sign-in", door.away, methods=["GET"]),
        Route("/board/signed-in", door.back, methods=["GET"]),
        Route("/board/logout", door.logout, methods=["POST"]),
        Route("/board/mcp", _Asked(door)),
    ]


class _Asked:
    """Where the page's calls come in: they go on to /mcp with the token that the cookie stands for."""

    def __init__(self, door: SigningIn) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if (answer := await self._refused(request)) is not None:
            await answer(scope, receive, send)
            return
        token = await self._door.token(request)
        if token is None:
            await JSONResponse({"detail": "not signed in"}, 401, headers=HEADERS)(scope, receive, send)
            return
        hidden = {b"cookie", b"authorization"}
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in hidden]
        path = f"{scope.get('root_path', '')}/mcp"
        inner = {key: value for key, value in scope.items() if key not in {"user", "auth", "router", "endpoint"}}
        inner |= {"path": path, "raw_path": path.encode(), "path_params": {}}
        inner["headers"] = [*headers, (b"authorization", f"Bearer {token}".encode())]
        await scope["app"](inner, receive, send)

    async def _refused(self, request: Request) -> Response | None:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        if (refused := await self._door.refused(request)) is not None:
            return refused
        headers = request.headers
        method, name = headers.get("mcp-method"), headers.get("mcp-name")
        fits = method == "tools/list" or (method == "tools/call" and name in CALLS)
        if headers.get("mcp-protocol-version") != _VERSION or not fits:
            return JSONResponse({"detail": "this is no call of the board"}, 403, headers=HEADERS)
        return None
