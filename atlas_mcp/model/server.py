"""The Lettas that agents may live on, as they are configured, and how each of them was found."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from atlas_mcp.model._base import Frozen

EMBEDDED = "embedded"
CLOUD = "https://api.letta.com"

Kind = Literal["embedded", "server", "cloud"]


class Server(Frozen):
    """A Letta as it is configured: `base_url` is its address, or `embedded` for the one inside ATLAS.

    The record keeps `name` with every id that this Letta gave, so a name must stay with its Letta. Of new
    constellations a server with `weight` 2 gets twice as many as one with 1, and one with 0 gets none.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^\S+$")
    base_url: str
    api_key: SecretStr | None = None
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        return value if value == EMBEDDED else checked_address(value)

    @model_validator(mode="after")
    def _embedded_is_called_so(self) -> Server:
        if (self.name == EMBEDDED) != (self.base_url == EMBEDDED):
            raise ValueError(f"the name {EMBEDDED!r} is that of the Letta inside ATLAS, whose base_url is {EMBEDDED!r}")
        return self

    @property
    def kind(self) -> Kind:
        """What kind of Letta it is, by its address."""
        if self.base_url == EMBEDDED:
            return "embedded"
        return "cloud" if self.base_url == CLOUD else "server"

    @property
    def shown(self) -> str:
        """How it is called where people read it."""
        if self.base_url == EMBEDDED:
            return "the embedded Letta"
        if self.name in self.base_url:
            return f"the Letta server {self.base_url}"
        return f"the Letta server {self.name} ({self.base_url})"


class ServerInfo(Frozen):
    """How a Letta was found just now: what it can do, or what keeps ATLAS from using it.

    `configured` is false for one that only has agents of earlier. `problem` and `next_step` say what to mend.
    """

    name: str
    address: str
    kind: Kind
    configured: bool = True
    reachable: bool
    version: str = ""
    abilities: list[str] = Field(default_factory=list[str], description="What it can and cannot do, in words.")
    models: list[str] = Field(default_factory=list[str])
    embeddings: list[str] = Field(default_factory=list[str])
    model: str | None = Field(default=None, description="The handle that answers there for a supervisor.")
    constellations: int = 0
    problem: str | None = None
    next_step: str | None = None


def checked_address(text: str) -> str:
    """The address of a Letta in the form in which it is kept; ValueError for one that cannot be used."""
    address = text.strip().rstrip("/").removesuffix("/v1")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{text!r} is not an address like http://127.0.0.1:8283")
    if parts.username or parts.password:
        raise ValueError("an address must not hold a key: give it as LETTA_API_KEY")
    if parts.query or parts.fragment:
        raise ValueError(f"{text!r} has more than a host, a port and a path")
    return address


def server_at(address: str) -> Server:
    """The server of that address, named after it: `127.0.0.1:8283`, `letta.example.org/team`."""
    if address == EMBEDDED:
        return Server(name=EMBEDDED, base_url=EMBEDDED)
    checked = checked_address(address)
    return Server(name=checked.partition("://")[2].lower(), base_url=checked)
