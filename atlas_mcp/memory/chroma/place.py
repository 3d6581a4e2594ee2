"""Where Chroma is: with its files in the home, or a server that several share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atlas_mcp.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

SETTING = "ATLAS_CHROMA_URL"


@dataclass(frozen=True)
class Place:
    """The home whose Chroma it is, and the address of the server, which is a secret; None for files of the home."""

    home: Path
    url: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What tells it from another place, as the record keeps it."""
        if self.url is None:
            return "home"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}"

    @property
    def shown(self) -> str:
        """As people may see it: without a password."""
        if self.url is None:
            return "in the home folder"
        parts = urlsplit(self.url)
        return f"at {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def place(home: Path, url: SecretStr | None) -> Place:
    """The place that is configured. ConfigurationError for what is no address of a Chroma server."""
    if url is None:
        return Place(home)
    address = url.get_secret_value()
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound, parts = False, urlsplit("")
    if not sound or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(
            "it is no address of a Chroma server.",
            argument=SETTING,
            next_step="Set it to http://HOST:PORT or https://USER:PASSWORD@HOST:PORT, without a path; or leave it out.",
        )
    return Place(home, address)
