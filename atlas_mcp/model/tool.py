"""A tool as an agent's model sees it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atlas_mcp.model._base import Frozen


class ToolSpec(Frozen):
    """A tool an agent may call: its name, what it does, and its arguments as a JSON Schema of type object."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    description: str
    parameters: dict[str, Any]
