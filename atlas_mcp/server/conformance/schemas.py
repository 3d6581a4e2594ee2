"""Tools whose schemas say what few schemas say: all of JSON Schema 2020-12, and an argument that is a header too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from mcp.types import CallToolResult
from pydantic import Field

from atlas_mcp.server.conformance.jobs import said
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

_STRING = {"type": "string"}
EVERYTHING: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {"$anchor": "addressDef", "type": "object", "properties": {"street": _STRING, "city": _STRING}}
    },
    "properties": {
        "name": _STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": _STRING,
        "email": _STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def schema_tools() -> list[Tool]:
    """The tools, ready to register."""
    everything = define(json_schema_2020_12_tool, title="Conformance: json_schema_2020_12_tool")
    everything.parameters = EVERYTHING
    return [everything, define(test_custom_header, title="Conformance: test_custom_header")]


async def json_schema_2020_12_tool() -> CallToolResult:
    """Be listed with a schema that uses everything."""
    return said("ok")


async def test_custom_header(
    region: Annotated[str, Field(description="Where.", json_schema_extra={"x-mcp-header": "Region"})],
) -> CallToolResult:
    """Take an argument that clients send as a header too."""
    return said(region)
