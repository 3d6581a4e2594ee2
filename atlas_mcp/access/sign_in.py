"""People's way to the identity provider and back: an authorization code with PKCE (RFC 7636), as a public client.

Promise: what comes back from the provider counts only in the browser that was sent there, for that keeps the secret of
which the provider was told two hashes: the state, by which we know that the answer is to this question, and the
challenge, by which the provider knows that who brings the code is who asked. The token that the code is changed for is
taken for nothing here: it is to be checked like any other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from atlas_mcp.access.provider import answered, asking
from atlas_mcp.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.access.provider import Published
    from atlas_mcp.model.access import LoginRules

SCOPES: Final = "read chat"
"""What is asked for: all that the board's pages can do."""


class SignIn:
    """Signing in at the provider of those rules, as their `client_id`; the provider sends people back to `back`."""

    def __init__(self, rules: LoginRules, published: Callable[[], Awaitable[Published]], back: str) -> None:
        self._rules = rules
        self._published = published
        self._back = back

    async def begun(self) -> tuple[str, str]:
        """A secret for the browser to keep, and where to send it. Unavailable when the provider does not say where."""
        secret = secrets.token_urlsafe(32)
        asked = {
            "response_type": "code",
            "scope": SCOPES,
            "state": _hashed(f"state {secret}"),
            "code_challenge": _hashed(secret),
            "code_challenge_method": "S256",
        }
        return secret, f"{(await self._told()).sign_in_url}?{urlencode(asked | self._about())}"

    def fits(self, secret: str, state: str) -> bool:
        """Whether an answer with that state is to who keeps this secret."""
        return bool(secret) and hmac.compare_digest(state.encode(), _hashed(f"state {secret}").encode())

    async def token(self, secret: str, code: str) -> str | None:
        """What the provider gives for the code; None where it refuses it. Unavailable when it does not answer."""
        where = (await self._told()).token_url
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": secret}
        async with asking(self._rules) as http:
            given = (await answered(http, where, form | self._about()) or {}).get("access_token")
        return given if isinstance(given, str) else None

    def _about(self) -> dict[str, str]:
        return {
            "client_id": self._rules.client_id or "",
            "redirect_uri": self._back,
            "resource": self._rules.resource,
        }

    async def _told(self) -> Published:
        told = await self._published()
        if not (told.sign_in_url and told.token_url):
            raise Unavailable("the identity provider's metadata does not say where people sign in.")
        return told


def _hashed(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
