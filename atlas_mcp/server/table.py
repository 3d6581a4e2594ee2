"""The README's table of tools, generated from the server itself: `python -m atlas_mcp.server.table`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.server.toolsets import core_tools

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas


def tool_table(tools: list[Tool]) -> str:
    """One Markdown row a tool: its name, its arguments with their defaults, and the first sentence on it."""
    rows = [f"| `{tool.name}` | {_arguments(tool.parameters)} | {_sentence(tool.description)} |" for tool in tools]
    return "\n".join(["| tool | arguments | what it does |", "|---|---|---|", *rows])


def _arguments(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    return ", ".join(f"`{_argument(name, one, name in required)}`" for name, one in schema["properties"].items()) or "–"


def _argument(name: str, schema: dict[str, Any], required: bool) -> str:  # a fact about the argument
    if required:
        return name
    default = schema.get("default")
    return f"{name}?" if default is None else f"{name}={default}"


def _sentence(description: str) -> str:
    flat = " ".join(description.split())
    return flat if ". " not in flat else f"{flat.split('. ', 1)[0]}."


def main() -> None:
    """Write the table to stdout."""
    unused = cast("Atlas", None)  # defining the tools asks nothing of it
    sys.stdout.write(tool_table(core_tools(unused, "stdio")) + "\n")


if __name__ == "__main__":
    main()
