"""Which pages a service may be asked for: nobody is sent into a private network, save to hosts that the user allowed.

A service of others reaches its own network and not the user's, so of a name only its form is looked at. One that the
user runs may reach the user's network: there every address of the name must be public. Between this look and the
service's own look-up a name may come to mean something else; who runs one should close its network as well.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.address import parse_address
from atlas_mcp.reach.web.connecting import Allowed, resolve
from atlas_mcp.reach.web.forbidden import why_forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.reach.web.address import WebAddress


async def public_page(text: str, allowed: Iterable[str], *, own: bool = False) -> str:
    """The address of that page, if it may be asked for; `own` where the service is the user's. Else ToolFailed."""
    address = parse_address(text)
    if (address.host, address.port) not in Allowed(allowed) and (why := await _why_not(address, own=own)):
        raise ToolFailed(f"{address.host} is {why}: pages there are not asked for.", next_step="Use another source.")
    return str(address)


async def _why_not(address: WebAddress, *, own: bool) -> str | None:
    try:
        return why_forbidden(str(ip_address(address.host)))
    except ValueError:
        pass
    if "." not in address.host or address.host.endswith((".localhost", ".local", ".internal")):
        return "a name of a private network"
    if not own:
        return None
    try:
        found = await resolve(address.host, address.port)
    except OSError:
        return "not known here"
    return next((why for one in found if (why := why_forbidden(one))), None)
