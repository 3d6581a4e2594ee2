"""Where traces end up: an MLflow server, a database, or (by default) MLflow's SQLite file in the home folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model._base import Frozen

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class Destination(Frozen):
    """The MLflow that gets the traces, and the experiment they go into (made when absent).

    `tracking_uri` None is the home's own database; else the address of an MLflow server (http, https) or the URL of an
    MLflow database. A server may ask for a user and password, or a token.
    """

    tracking_uri: str | None = None
    experiment: str = "ATLAS"
    username: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None

    @property
    def kind(self) -> Literal["home", "server", "database"]:
        """Which of the three it is. Raises ConfigurationError for an address that is none of them."""
        if not self.tracking_uri:
            return "home"
        scheme = urlsplit(self.tracking_uri).scheme.lower().partition("+")[0]
        if scheme in _SERVERS:
            return "server"
        if scheme in _DATABASES:
            return "database"
        raise ConfigurationError(
            f"{scheme or 'no'} scheme cannot take traces: it must be one of {', '.join(_SERVERS + _DATABASES)}.",
            argument="MLFLOW_TRACKING_URI",
            allowed=_SERVERS + _DATABASES,
            next_step="Set the address of an MLflow server, or unset it to keep traces in ATLAS_HOME.",
        )

    def database_url(self, home: Path) -> str:
        """The database's URL; that of the home's own file unless another was named."""
        return self.tracking_uri or f"sqlite:///{(home / 'mlflow.db').absolute().as_posix()}"

    def to_wire(self) -> str:
        """All of it as one line of JSON with its secrets, for the standard input of a process of our own only."""
        plain = {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in self}
        return json.dumps({name: value for name, value in plain.items() if value is not None})
