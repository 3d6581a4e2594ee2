"""Where traces end up: an MLflow server, a database, or (by default) MLflow's SQLite file in the home folder.

A collector of any other make may get them besides.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model._base import Frozen
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.payload import REDACTED

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_USERINFO = re.compile(r"(?<=://).*@", re.DOTALL)
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_SECRET_PARAMETER = re.compile(r"[?&][^=&]*(?:pass|pwd|secret|token|key)[^=&]*=([^&#]+)", re.IGNORECASE)


class Destination(Frozen):
    """The MLflow that gets the traces, and the experiment they go into (made when absent).

    `tracking_uri` None is the home's own database; else the address of an MLflow server (http, https) or the URL of an
    MLflow database. A server may ask for a user and password, or a token. The address may hold secrets as well: show
    `shown`, and anything that others said about the address only through `scrub`.
    """

    folder: ClassVar[str] = "spool"
    lock: ClassVar[str] = "ingest"

    tracking_uri: str | None = Field(default=None, repr=False)
    experiment: str = "ATLAS"
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None
    days: float = Field(default=90.0, ge=0, description="Days that the home's own database keeps traces; 0 for ever.")
    besides: Collector | None = Field(default=None, exclude=True)

    @property
    def kind(self) -> Literal["home", "server", "database"]:
        """Which of the three it is. Raises ConfigurationError for an address that is none of them, or is malformed."""
        if not self.tracking_uri:
            return "home"
        scheme = self.tracking_uri.partition(":")[0].lower().partition("+")[0]
        if scheme in _SERVERS:
            self._require_readable()
            return "server"
        if scheme in _DATABASES:
            return "database"
        raise ConfigurationError(
            f"this address cannot take traces: its scheme must be one of {', '.join(_SERVERS + _DATABASES)}.",
            argument="MLFLOW_TRACKING_URI",
            allowed=_SERVERS + _DATABASES,
            next_step="Set the address of an MLflow server, or unset it to keep traces in ATLAS_HOME.",
        )

    def database_url(self, home: Path) -> str:
        """The database's URL; that of the home's own file unless another was named."""
        return self.tracking_uri or f"sqlite:///{(home / 'mlflow.db').absolute().as_posix()}"

    @property
    def shown(self) -> str:
        """The address for people and logs, without user, password and parameters; in words for the home's own."""
        if not self.tracking_uri:
            return "MLflow's database in the home folder"
        return _QUERY.sub("", _USERINFO.sub("", self.tracking_uri))

    def scrub(self, text: str) -> str:
        """`text` with the address as it is shown and without any secret of this destination's."""
        if self.tracking_uri:
            text = text.replace(self.tracking_uri, self.shown)
        for secret in self._secrets():
            text = text.replace(secret, REDACTED)
        return text

    def _secrets(self) -> list[str]:
        """What must appear nowhere, as written in the address and as it reads decoded; the longest first."""
        found = [held.get_secret_value() for held in (self.password, self.token) if held]
        if userinfo := _USERINFO.search(self.tracking_uri or ""):
            user, _, password = userinfo[0].removesuffix("@").partition(":")
            # A user alone may be a token where a server is asked, and is just a name for a database.
            found += [userinfo[0], password or (user if self.kind == "server" else "")]
        found += _SECRET_PARAMETER.findall(self.tracking_uri or "")
        return sorted({form for one in found for form in (one, unquote(one)) if form}, key=len, reverse=True)

    def _require_readable(self) -> None:
        try:
            parts = urlsplit(self.tracking_uri or "")
            readable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.path
        except ValueError:
            readable = False
        if not readable:
            raise ConfigurationError(
                "this is not an address of a server.",
                argument="MLFLOW_TRACKING_URI",
                next_step="Write it as http://host:port, with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
            ) from None

    def to_wire(self) -> str:
        """All of it as one line of JSON with its secrets, for the standard input of a process of our own only."""
        plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in self}
        del plain["besides"]  # another process of our own goes there
        return json.dumps({name: value for name, value in plain.items() if value is not None})
