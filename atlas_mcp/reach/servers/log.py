"""What another server writes on its error stream, kept for the user in a log file that stays small."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.reach.servers.config import ServerConfig

MOST_BYTES = 500_000
"""Beyond which a log begins anew; the one before is kept beside it."""


class ServerLog:
    """The log of one server, of all processes on this home that use it; its owner alone may read it."""

    def __init__(self, folder: Path, config: ServerConfig) -> None:
        self.path = folder / f"server-{config.plain_name}.log"

    def write(self, data: bytes) -> None:
        """Append; a disk that takes nothing more costs the log, not the server."""
        try:
            if self.path.exists() and self.path.stat().st_size + len(data) > MOST_BYTES:
                self.path.replace(self.path.with_suffix(".1.log"))
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        except OSError:
            return

    def note(self, text: str) -> None:
        """Append a line of ours."""
        self.write(f"[atlas] {text}\n".encode(errors="replace"))
