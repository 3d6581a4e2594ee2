"""The PostgreSQL that keeps the record: its address, connections to it, and what its errors mean.

Promise: the password is shown nowhere. Whatever the server or the way to it refuses is one of our errors: one that must
be mended first is a ConfigurationError with what to do, one that may pass is Unavailable. All that ATLAS keeps there
lies in the schemas `atlas` and `atlas_dbos`, so that the database may be shared with other programs.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from atlas_mcp.errors import AtlasError, ConfigurationError, LockTimeout, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Engine

SETTING = "ATLAS_DATABASE_URL"
SCHEMA = "atlas"
DBOS_SCHEMA = "atlas_dbos"

CONNECT_SECONDS = 5
_LOCK_WAIT_MS = 30_000
_IDLE_MS = 20_000  # a frozen process in the middle of a write holds the others up no longer
_SERVER_SIDE = {
    "search_path": SCHEMA,
    "lock_timeout": _LOCK_WAIT_MS,
    "idle_in_transaction_session_timeout": _IDLE_MS,
    # The server frees what a machine held that is gone, a little later than the machine itself would give it up.
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
}
_NO_LOCK, _DEADLOCK, _TOO_IDLE = "55P03", "40P01", "25P03"
_REFUSED = {
    "28P01": ("refuses the password of the user", "Mend the password in {setting}."),
    "28000": ("refuses the user", "Mend the user in {setting}, or let the server admit it (pg_hba.conf)."),
    "3D000": ("has no such database", "Create it: createdb {database}; or name another in {setting}."),
    "42501": ("does not let the user do that", 'Let it: GRANT CREATE ON DATABASE "{database}" TO "{user}".'),
}
_FULL = "53"
"""The class of errors of a server that has no room left: on its disk, in its memory, for another connection."""


@dataclass(frozen=True)
class Postgres:
    """Where the server is, and who we are there. `url` is libpq's, and a secret."""

    url: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The address as people may see it: without the password."""
        parts = urlsplit(self.url)
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{user}{parts.hostname or 'localhost'}{port}{parts.path}"

    def options(self, **settings: str) -> dict[str, Any]:
        """How to connect, for psycopg: deadlines, the schema that everything is in, and settings of the session."""
        return {
            "conninfo": self.url,
            "autocommit": True,
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": CONNECT_SECONDS * 1000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": "atlas-mcp",
            "options": " ".join(f"-c {name}={value}" for name, value in (_SERVER_SIDE | settings).items()),
        }

    def connect(self) -> Any:
        """A connection for a thread, in which every statement is a transaction. Blocks, for CONNECT_SECONDS at most."""
        from psycopg import Connection

        with self.told():
            return Connection[Any].connect(**self.options())

    async def connect_async(self, **more: Any) -> Any:
        """As `connect`, for the event loop."""
        from psycopg import AsyncConnection

        return await AsyncConnection[Any].connect(**self.options(), **more)

    def engine(self, **options: Any) -> Engine:
        """SQLAlchemy's engine with such connections, for threads."""
        from sqlalchemy import create_engine

        return create_engine("postgresql+psycopg://", creator=self.connect, **options)

    @contextmanager
    def told(self) -> Generator[None]:
        """Raise what PostgreSQL or psycopg refuse as one of our errors, also where SQLAlchemy has wrapped it."""
        from psycopg import Error

        try:
            yield
        except AtlasError:
            raise
        except Exception as error:
            said = getattr(error, "orig", error)
            ours = self.meaning(said) if isinstance(said, Error) else None
            if ours is None:
                raise
            raise ours from error

    def meaning(self, error: Exception) -> AtlasError | None:
        """What an error of psycopg's means for people; None for one that is a mistake of ours."""
        from psycopg import InterfaceError, OperationalError

        state = getattr(error, "sqlstate", None) or _state_in(str(error))
        if state in (_NO_LOCK, _DEADLOCK):
            return LockTimeout("another process keeps the record to itself.", next_step="Try again in a moment.")
        if state in _REFUSED:
            what, step = _REFUSED[state]
            parts = urlsplit(self.url)
            names = {"setting": SETTING, "user": parts.username or "", "database": parts.path.strip("/")}
            return ConfigurationError(f"{self.shown} {what}.", argument=SETTING, next_step=step.format(**names))
        if state and state.startswith(_FULL):
            return StoreUnavailable(f"{self.shown} has no room: {_said(error)}.", next_step="Make room there.")
        if isinstance(error, OperationalError | InterfaceError) or state == _TOO_IDLE:
            return StoreUnavailable(
                f"{self.shown} does not answer: {_said(error)}.",
                next_step=f"Start it, or mend {SETTING}; then try again.",
            )
        return None


def _said(error: Exception) -> str:
    """The error's text on one line, without the hints."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Is the server running", "HINT"))]
    return " ".join(kept)[:300].rstrip(".") or type(error).__name__


def _state_in(message: str) -> str | None:
    # When connecting fails libpq gives no state, only the server's words.
    words = {"password authentication failed": "28P01", "no password supplied": "28P01", "pg_hba.conf": "28000"}
    found = next((state for word, state in words.items() if word in message), None)
    if found is None and 'database "' in message and "does not exist" in message:
        return "3D000"
    if found is None and 'role "' in message and "does not exist" in message:
        return "28000"
    return found
