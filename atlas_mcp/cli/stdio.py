"""`atlas-mcp serve` as hosts start it: the shortest way from the start to the tools."""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, ConfigurationError

if TYPE_CHECKING:
    from atlas_mcp.server.app import Offer
    from atlas_mcp.server.stdio import Wire


def run_stdio(toolset: Offer = "core") -> int:
    """Serve the host at the other end of stdin and stdout until it closes the pipe; the exit code.

    With a setting that must be mended first the server comes up all the same and every tool says what to mend.

    The pipe is taken for the protocol before anything is imported that might print.
    """
    from atlas_mcp.server.stdio import claim_wire

    gc.disable()  # what is imported stays: looking through it again and again is a tenth of the start
    try:
        wire = claim_wire()
        import anyio

        from atlas_mcp.server.loop import loop_options

        return anyio.run(_serve, wire, toolset, backend_options=loop_options())
    except AtlasError as error:
        sys.stderr.write(f"atlas-mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130


async def _serve(wire: Wire, toolset: Offer) -> int:
    import_module("atlas_mcp.server.app")  # the rest of what is imported
    from atlas_mcp.atlas import open_atlas, refusing
    from atlas_mcp.server.logs import log_to_stderr
    from atlas_mcp.server.stdio import serve_stdio
    from atlas_mcp.settings import load_settings

    gc.freeze()
    gc.enable()
    log_to_stderr()
    try:
        async with open_atlas(load_settings()) as atlas:
            await serve_stdio(atlas, wire, toolset)
    except ConfigurationError as error:
        sys.stderr.write(f"atlas-mcp: {error}\n")
        await serve_stdio(refusing(error), wire, toolset)
        return 2
    return 0
