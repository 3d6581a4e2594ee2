"""ATLAS: one MCP server behind which a constellation of persistent agents lives.

    from atlas_mcp import load_settings, open_atlas

    async with open_atlas(load_settings()) as atlas:
        reply = await atlas.chat(atlas.local_caller(), "librarian", "What do you remember?")

`errors` holds the one tree of exceptions. `create_server` gives the MCP server over an open Atlas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atlas_mcp import errors

if TYPE_CHECKING:
    from atlas_mcp.atlas import Atlas, open_atlas
    from atlas_mcp.server.app import create_server
    from atlas_mcp.settings import Settings, load_settings

__version__ = "0.1.0"
__all__ = ["Atlas", "Settings", "__version__", "create_server", "errors", "load_settings", "open_atlas"]

_HOMES = {
    "Atlas": "atlas_mcp.atlas",
    "open_atlas": "atlas_mcp.atlas",
    "create_server": "atlas_mcp.server.app",
    "Settings": "atlas_mcp.settings",
    "load_settings": "atlas_mcp.settings",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command line says its version and its help without loading the house.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
