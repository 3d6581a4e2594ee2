"""Who is asking."""

from typing import Literal

from atlas_mcp.model._base import Frozen


class Caller(Frozen):
    """One person or program; owns one constellation. Never a tool argument: the transport says who it is.

    `id` is `local:<home id>` over stdio and `key:<key id>` over HTTP. `client` names the program that speaks for the
    caller (the host's name), or is empty; it selects that program's own threads and grants nothing.
    """

    id: str
    kind: Literal["local", "key"] = "local"
    client: str = ""
