"""Who is asking."""

import hashlib
from typing import Literal

from atlas_mcp.model._base import Frozen


def hashed_caller(caller: str) -> str:
    """What is shown outside of the record instead of a caller's id: the same for the same, and telling nothing else."""
    return f"user-{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


class Caller(Frozen):
    """One person or program; owns one constellation. Never a tool argument: the transport says who it is.

    `id` is `local:<home id>` over stdio and `key:<key id>` over HTTP. `client` names the program that speaks for the
    caller (the host's name), or is empty; it selects that program's own threads and grants nothing.
    """

    id: str
    kind: Literal["local", "key"] = "local"
    client: str = ""
