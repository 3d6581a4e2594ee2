"""Every text that any tool takes has a limit, which is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.server import create_server
from tests.server.doors import ERAS, MODERN, refused

if TYPE_CHECKING:
    from atlas_mcp.atlas import Atlas

pytestmark = pytest.mark.anyio
LONG = "x" * 2_000_001
KNOWN: dict[str, Any] = {
    "agent": "librarian",
    "group": "round_table",
    "run_id": "run_x",
    "label": "human",
    "good": True,
    "replace": {"old": "a", "new": "b"},
    "facts": [],
    "manager": {"type": "round_robin"},
}


async def test_a_text_that_is_too_long_is_refused_with_the_name_of_the_argument_and_the_limit(atlas: Atlas) -> None:
    tried = told = 0
    wrong: list[str] = []
    async with Client(create_server(atlas, transport="stdio", toolset="all"), mode=ERAS[MODERN]) as client:
        for tool in (await client.list_tools()).tools:
            fields: dict[str, Any] = tool.input_schema["properties"]
            needed = {name: KNOWN.get(name, "x") for name in tool.input_schema.get("required", ())}
            for name, schema in fields.items():
                if "enum" in schema or schema.get("format") or schema.get("type") not in ("string", "array"):
                    continue
                items = schema.get("items", {})
                if schema["type"] == "array" and items.get("type") != "string":
                    continue
                given = {**needed, name: LONG if schema["type"] == "string" else [LONG]}
                text = await refused(client, tool.name, **given)
                tried += 1
                told += "2,000,001 characters is too long: the limit is" in text and name in text
                if len(text) > 2_000:  # nor is what is wrong said at length
                    wrong.append(f"{tool.name} {name}: {text[:100]} ... {len(text)}")
    assert not wrong, "\n".join(wrong)
    assert tried > 60
    assert told >= tried - 10, "the others are refused because of another argument, or because of what is in the list"
