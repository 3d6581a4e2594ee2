"""`atlas-mcp serve` as hosts start it: the shortest way from the start to the tools."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from atlas_mcp.server.stdio import Wire


def run_stdio() -> int:
    """Serve the host at the other end of stdin and stdout until it closes the pipe; the exit code.

    The pipe is taken for the protocol before anything is imported that might print.
    """
    from atlas_mcp.server.stdio import claim_wire

    try:
        wire = claim_wire()
        import anyio

        anyio.run(_serve, wire)
    except AtlasError as error:
        sys.stderr.write(f"atlas-mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


async def _serve(wire: Wire) -> None:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.server.logs import log_to_stderr
    from atlas_mcp.server.stdio import serve_stdio
    from atlas_mcp.settings import load_settings

    log_to_stderr()
    async with open_atlas(load_settings()) as atlas:
        await serve_stdio(atlas, wire)
