"""The token by which an app asks Microsoft Graph: by the client credentials flow of the Microsoft identity platform.

Promise: a token is asked for when it is first needed, renewed before it ends or when Graph refuses it, and by one call
however many wait for it. It is in memory only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.connectors.answer import number_of, text_in
from atlas_mcp.reach.connectors.http import About, Request, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.model.reaching import Reaching

EARLIER_SECONDS = 300.0
"""How long before its end a token is renewed, at most: one of a short life in the last tenth of it."""
_STEPS = {
    400: "Check ATLAS_MICROSOFT_TENANT, ATLAS_MICROSOFT_CLIENT_ID, and ATLAS_MICROSOFT_BASE_URL for your cloud.",
    401: "Check ATLAS_MICROSOFT_CLIENT_ID and ATLAS_MICROSOFT_CLIENT_SECRET: a secret has an end, too.",
    404: "Check ATLAS_MICROSOFT_TENANT.",
}


def about_login(settings: Reaching) -> About:
    """What is known of where the tokens are given."""
    secret = settings.microsoft_client_secret
    secrets = (secret.get_secret_value(),) if secret else ()
    return About("Microsoft's login", settings.microsoft_login_url, "ATLAS_MICROSOFT_LOGIN_URL", _STEPS, secrets)


class SignIn:
    """The app's token, for all turns of this process; `clock` tells seconds."""

    def __init__(self, login: Service, settings: Reaching, clock: Callable[[], float] = time.monotonic) -> None:
        secret = settings.microsoft_client_secret
        self._login = login
        self._clock = clock
        self._path = f"/{quote(settings.microsoft_tenant or '', safe='')}/oauth2/v2.0/token"
        self._form = {
            "client_id": settings.microsoft_client_id or "",
            "scope": f"{settings.microsoft_base_url}/.default",
            "client_secret": secret.get_secret_value() if secret else "",
            "grant_type": "client_credentials",
        }
        self._renewing = anyio.Lock()
        self._token = ""
        self._until = 0.0

    async def token(self, refused: str = "") -> str:
        """A token that holds; another than the one that was refused. ToolFailed, LimitReached."""
        async with self._renewing:
            if not self._token or self._token == refused or self._clock() >= self._until:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        asked = self._clock()
        told = await self._login.read(Request("POST", self._path, form=self._form))
        self._token, lasts = text_in(told, "access_token"), float(number_of(told, "expires_in"))
        if not self._token:
            raise ToolFailed("Microsoft's login gave no token.", next_step="Check ATLAS_MICROSOFT_LOGIN_URL.")
        self._until = asked + lasts - min(EARLIER_SECONDS, lasts / 10)
