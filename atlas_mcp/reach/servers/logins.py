"""What a login with another server gave, kept in the home until somebody logs out.

Promise: a file for each server, which its owner alone may read and no backup has. It counts for the address that it was
given for, and for no other that the user's file may name later. What is secret in it is in no `repr` and no error.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import anyio
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import Field, ValidationError

from atlas_mcp.model._base import Frozen
from atlas_mcp.store.files import write_private
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.reach.servers.config import ServerConfig

_LOOK_SECONDS = 1.0  # after which a login by another process is seen, where one is waited for
_BUSY_SECONDS = 30.0


class Given(Frozen):
    """What the server at `url` gave, and what is needed to have it renewed; `ends_at` is in seconds since 1970.

    `lacks` says why a person has to log in; "" while that is not known to be so.
    """

    url: str = Field(repr=False)
    tokens: OAuthToken | None = Field(default=None, repr=False)
    ends_at: float | None = None
    client: OAuthClientInformationFull | None = Field(default=None, repr=False)
    giver: OAuthMetadata | None = None
    resource: ProtectedResourceMetadata | None = None
    lacks: str = ""


class Login:
    """That of one server, for all processes on this home."""

    def __init__(self, home: Path, config: ServerConfig) -> None:
        self.config = config
        self._path = home / "keys" / f"login-{config.plain_name}.json"
        self._locks = Locks(home / "locks")

    @property
    def command(self) -> str:
        """What a person has to run to log in."""
        return f"atlas-mcp tools login {shlex.quote(self.config.name)}"

    @property
    def lacks(self) -> str:
        """Why a person has to log in, as far as it is known; "" if nobody has to."""
        given = self.read()
        return given.lacks if given else ""

    def read(self) -> Given | None:
        """What was given last; None if nothing was, or for another address."""
        try:
            given = Given.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):  # of another version: to log in anew mends it
            return None
        return given if given.url == self.config.url else None

    def write(self, given: Given) -> None:
        """Keep that, in the place of what was given before."""
        write_private(self._path, given.model_dump_json(exclude_none=True))

    def ask(self, why: str) -> None:
        """Remember that a person has to log in; what was given before is of no use any more."""
        self.write(Given(url=self.config.url, lacks=why))

    def forget(self) -> bool:
        """Delete what was given; whether there was anything of use."""
        given = self.read()
        self._path.unlink(missing_ok=True)
        return given is not None and given.tokens is not None

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Nobody else renews it or logs in meanwhile, on this home. LockTimeout."""
        return self._locks.hold(self._path.stem, wait_seconds=_BUSY_SECONDS)

    async def awaited(self) -> None:
        """Wait until somebody has logged in, where that is what is missing; in all other cases for ever."""
        if not self.lacks:
            await anyio.sleep_forever()
        while self.lacks:  # noqa: ASYNC110 - another process writes the file
            await anyio.sleep(_LOOK_SECONDS)
