"""Keys made and revoked as people do it, on the home that the environment names."""

from __future__ import annotations

import anyio

from tests.server.doors import COMMAND


async def keys(*words: str) -> str:
    """What `atlas-mcp keys` prints: of `create NAME` the key."""
    return (await anyio.run_process([*COMMAND, "keys", *words])).stdout.decode().strip()
