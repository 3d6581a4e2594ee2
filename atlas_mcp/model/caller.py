"""Who is asking."""

import hashlib
from typing import Literal

from atlas_mcp.model._base import Frozen

HOME_KEY = "http"
"""The name of the home's own key, which lies in a file and not in the record."""


def hashed_caller(caller: str) -> str:
    """What is shown outside of the record instead of a caller's id: the same for the same, and telling nothing else."""
    return f"user-{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


class Caller(Frozen):
    """One person or program; owns one constellation. Never a tool argument: the transport says who it is.

    `id` is `local:<home id>` over stdio, `key:<name>` for the holders of a key and of those that speak for the same
    name, and `login:<hash of the issuer>:<subject>` for one who logged in at an identity provider. `client` names the
    program that speaks for the caller (the host's name), or is empty; it selects that program's own threads and grants
    nothing.
    """

    id: str
    kind: Literal["local", "key", "login"] = "local"
    client: str = ""

    @property
    def owns_home(self) -> bool:
        """Whether it is who owns the home, and with it what its settings open of the owner's own: folders, mail, code.

        Over stdio that is everybody, over HTTP the holder of the home's own key and of those that speak for it. Judged
        by the id alone: that is all that is kept of a caller with a run that another process takes over.
        """
        return self.id.startswith("local:") or self.id == f"key:{HOME_KEY}"
