"""Signing in at the board: with a key, or at the identity provider; and out again.

Either way a bearer token is given once, which is checked like that of any request, and the browser gets a cookie that
stands for it. No script can read the cookie, and no other site can use it.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from mcp.server.transport_security import TransportSecurityMiddleware
from starlette.responses import HTMLResponse, RedirectResponse, Response

from atlas_mcp.errors import Unavailable
from atlas_mcp.model.access import SESSION_HOURS, board_url
from atlas_mcp.server.board.tries import Tries

if TYPE_CHECKING:
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.requests import Request

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import Grant

COOKIE: Final = "atlas_board"
AWAY: Final = "atlas_board_away"
"""The cookie of who is at the identity provider."""
AWAY_SECONDS: Final = 600
MAX_FORM_BYTES: Final = 64 * 1024
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer the browser hides from us where the login form came from
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
log = logging.getLogger("atlas.server")


class SigningIn:
    """The board's front door; `security` says by which names it may be called."""

    def __init__(self, atlas: Atlas, security: TransportSecuritySettings) -> None:
        self._access = atlas.access
        self._security = TransportSecurityMiddleware(security)
        self._tries = Tries()

    async def token(self, request: Request) -> str | None:
        """What the request's cookie stands for."""
        return await self._access.sessions.token(request.cookies.get(COOKIE, ""))

    async def refused(self, request: Request) -> Response | None:
        """The refusal of a request by another name than this server's, or from a page that is not its own."""
        if refused := await self._security.validate_request(request):
            return refused
        if request.method == "POST" and request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return Response("Only pages of this server may ask this.", 403)
        return None

    async def login(self, request: Request) -> Response:
        """A session for a key that may read."""
        if (refused := await self.refused(request) or self._must_wait(request)) is not None:
            return refused
        token = await _given(request)
        grant = await self._access.authenticate(token) if token else None
        if grant is None:
            return self._wrong(request, "There is no such key, or its time is over.")
        if "read" not in grant.scopes:
            return self.page(request, "This key may not look at runs: it lacks the scope read.", 403)
        answer = RedirectResponse(request.url_for("page").path, 303, headers=HEADERS)
        return await self._let_in(request, token, grant, answer)

    async def away(self, request: Request) -> Response:
        """Off to the identity provider."""
        if (refused := await self.refused(request)) is not None:
            return refused
        if (sign_in := self._access.sign_in()) is None:
            return self.page(request, "Here nobody signs in at an identity provider.", 404)
        try:
            secret, address = await sign_in.begun()
        except Unavailable as error:
            return self._silent(request, error)
        answer = RedirectResponse(address, 302, headers=HEADERS)
        path, secure = request.url_for("back").path, request.url.scheme == "https"
        # Lax: the provider's page is another site, and its way back must bring the cookie.
        answer.set_cookie(AWAY, secret, AWAY_SECONDS, path=path, secure=secure, httponly=True, samesite="lax")
        return answer

    async def back(self, request: Request) -> Response:
        """A session for who comes back from the identity provider with a code for a token that may read."""
        if (refused := await self.refused(request) or self._must_wait(request)) is not None:
            return refused
        try:
            answer = await self._came_back(request)
        except Unavailable as error:
            answer = self._silent(request, error)
        answer.delete_cookie(AWAY, path=request.url_for("back").path, httponly=True, samesite="lax")
        return answer

    async def logout(self, request: Request) -> Response:
        """The end of the session."""
        if (refused := await self.refused(request)) is not None:
            return refused
        await self._access.sessions.end(request.cookies.get(COOKIE, ""))
        answer = Response(status_code=204, headers=HEADERS)
        answer.delete_cookie(COOKIE, path=request.url_for("page").path, httponly=True, samesite="strict")
        return answer

    def page(
        self, request: Request, problem: str = "", status: int = 200, more: dict[str, str] | None = None
    ) -> Response:
        """Where people sign in; `problem` is what was wrong with the last try."""
        from atlas_mcp.server.board.page import login_page, login_policy

        rules = self._access.login_rules
        text = login_page(
            request.url_for("login").path,
            hours=SESSION_HOURS,
            problem=problem,
            issuer=rules.issuer if rules else "",
            away=f"{board_url(rules.resource)}/sign-in" if rules and rules.client_id else "",
        )
        return HTMLResponse(text, status, HEADERS | {"Content-Security-Policy": login_policy()} | (more or {}))

    async def _came_back(self, request: Request) -> Response:
        said, secret = request.query_params, request.cookies.get(AWAY, "")
        sign_in, rules = self._access.sign_in(), self._access.login_rules
        if sign_in is None or rules is None or not sign_in.fits(secret, said.get("state", "")):
            return self._wrong(request, "This was not begun in this browser, or took too long. Begin again.")
        if "code" not in said:
            return self._wrong(request, f"The identity provider did not let you in: {said.get('error', '')[:100]}.")
        if (token := await sign_in.token(secret, said["code"])) is None:
            return self._wrong(request, "The identity provider gave no token for you.")
        if (grant := await self._access.authenticate(token)) is None:
            return self._wrong(request, f"What the identity provider gave is no JWT that is made for {rules.audience}.")
        if "read" not in grant.scopes:
            return self.page(request, "You may not look at runs: your login lacks the scope read.", 403)
        from atlas_mcp.server.board.page import login_policy, onward_page

        # Not a redirect: the way began at another site, and on it the browser would not send the cookie.
        text = onward_page(request.url_for("page").path)
        answer = HTMLResponse(text, headers=HEADERS | {"Content-Security-Policy": login_policy()})
        return await self._let_in(request, token, grant, answer)

    async def _let_in(self, request: Request, token: str, grant: Grant, answer: Response) -> Response:
        cookie = await self._access.sessions.begin(token, grant.expires_at)
        path, secure = request.url_for("page").path, request.url.scheme == "https"
        most = SESSION_HOURS * 3600
        answer.set_cookie(COOKIE, cookie, most, path=path, secure=secure, httponly=True, samesite="strict")
        return answer

    def _must_wait(self, request: Request) -> Response | None:
        if not (wait := self._tries.wait(_address(request))):
            return None
        problem = f"Too many keys were wrong. Try again in {math.ceil(wait)} seconds."
        return self.page(request, problem, 429, {"Retry-After": str(math.ceil(wait))})

    def _wrong(self, request: Request, problem: str) -> Response:
        self._tries.count(_address(request))
        return self.page(request, problem, 401)

    def _silent(self, request: Request, error: Unavailable) -> Response:
        log.warning("nobody can sign in at the board by the identity provider: %s", error)
        return self.page(request, "Nobody can sign in this way just now. Try again in a moment.", 503)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _given(request: Request) -> str:
    """The key in the form; empty where there is none."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            return ""
    fields = parse_qs(body.decode("latin-1"), max_num_fields=4) if body.count(b"&") < 4 else {}
    return fields.get("key", [""])[0].strip()
