"""The MCP surface: tools over one Atlas, on stdio and on HTTP.

Importing this package loads nothing, so that the entry point can protect stdout before the SDK is imported; the doors
are loaded when they are first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas_mcp.server.app import create_server as create_server
    from atlas_mcp.server.http import create_app as create_app

__all__ = ["create_app", "create_server"]  # given by __getattr__


def __getattr__(name: str) -> Any:
    if name == "create_server":
        from atlas_mcp.server.app import create_server

        return create_server
    if name == "create_app":
        from atlas_mcp.server.http import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
