"""Who may come in over HTTP, as whom, and what for.

The home keeps one key for HTTP on this machine; its holder has a constellation of its own, and may do everything. The
record has the keys that were made for others; and where an identity provider is configured, its logins count.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from atlas_mcp._config import login_rules
from atlas_mcp.access.sessions import Sessions
from atlas_mcp.model.access import HOME_KEY, Grant, board_url
from atlas_mcp.model.caller import Caller

if TYPE_CHECKING:
    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.access.logins import Logins
    from atlas_mcp.access.ring import KeyRing
    from atlas_mcp.access.sign_in import SignIn
    from atlas_mcp.model.access import LoginRules
    from atlas_mcp.store.record import Record


class Access:
    """The door of one home. Made by `open_atlas`, as `atlas.access`."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper
        self.limiter = keeper.limiter
        self.sessions = Sessions(self._record)
        self._home_key = ""
        self._ring: KeyRing | None = None
        self._logins: Logins | None = None
        self.login_rules: LoginRules | None = login_rules(keeper.settings)

    async def authenticate(self, token: str) -> Grant | None:
        """What a bearer token grants; None for one that is unknown, expired, revoked or of somebody else.

        Raises Unavailable, or what else keeps the record or the identity provider from being asked: then nobody knows.
        """
        if secrets.compare_digest(token.encode(), self.home_key().encode()):
            return self.home_grant()
        if token.startswith("atlas_"):
            return await self._key_ring().grant(token)
        if self.login_rules is not None and token.count(".") == 2:
            return await self._login(self.login_rules).grant(token)
        return None

    def sign_in(self) -> SignIn | None:
        """The way to the identity provider and back for who wants to see the board, where it knows the board."""
        rules = self.login_rules
        if rules is None or rules.client_id is None:
            return None
        from atlas_mcp.access.sign_in import SignIn

        return SignIn(rules, self._login(rules).published, f"{board_url(rules.resource)}/signed-in")

    def home_key(self) -> str:
        """The bearer key for loopback HTTP; created (0600) at the first call."""
        self._home_key = self._home_key or self._keeper.home.key(HOME_KEY)
        return self._home_key

    def home_grant(self) -> Grant:
        """What the holder of that key may do: everything."""
        return Grant(caller=self.key_caller(), via=HOME_KEY)

    def key_caller(self, client: str = "") -> Caller:
        """The holder of the key that the home keeps for loopback HTTP."""
        return Caller(id=f"key:{HOME_KEY}", kind="key", client=client)

    def _key_ring(self) -> KeyRing:
        if self._ring is None:
            from atlas_mcp.access.ring import KeyRing

            self._ring = KeyRing(self._record)
        return self._ring

    def _login(self, rules: LoginRules) -> Logins:
        if self._logins is None:
            from atlas_mcp.access.logins import Logins

            self._logins = Logins(rules)
        return self._logins

    async def _record(self) -> Record:
        return (await self._keeper.rooms()).record
