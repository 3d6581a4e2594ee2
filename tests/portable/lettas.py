"""A second Letta for tests: the embedded one served over HTTP by a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE: dict[str, Any] = {"name": "embedded", "base_url": "embedded"}


@dataclass(frozen=True)
class Second:
    """Its address and key."""

    url: str
    key: str

    @property
    def server(self) -> dict[str, Any]:
        """How the settings name it."""
        return {"name": "second", "base_url": self.url, "api_key": self.key}

    def agents(self) -> list[dict[str, Any]]:
        """Every agent that it has."""
        return self._get("/v1/agents/?limit=1000")

    def blocks(self) -> list[dict[str, Any]]:
        """Every block that it has."""
        return self._get("/v1/blocks/?limit=1000")

    def _get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {self.key}"}, timeout=30)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def second_letta(home: Path) -> Iterator[Second]:
    """A Letta on a loopback port, until the block is left."""
    command = [sys.executable, "-m", "atlas_mcp", "letta", "--port", "0"]
    environment = {**os.environ, "ATLAS_HOME": str(home)}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stderr is not None
        seen = ""
        while (address := re.search(r"http://127\.0\.0\.1:\d+", seen)) is None or "key" not in seen:
            line = process.stderr.readline()
            assert line, f"Letta ended: {seen}"
            seen += line
        try:
            yield Second(address[0], (home / "keys" / "letta").read_text().strip())
        finally:
            process.kill()
