"""What the server's calls leave in the spool: who called stays unnamed, and reading is told from working."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.sidecar import LOCK
from atlas_mcp.watch.spool import read, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _nobody_carries(home: Path) -> Iterator[None]:
    """What is traced stays in the spool, however long a test takes: a carrier of this home seems to be at work."""
    held = Locks(home / "locks").try_hold(LOCK)
    assert held
    with held:
        yield


def spooled(home: Path) -> list[dict[str, Any]]:
    """Every span that waits in the home's spool."""
    return [dict(row) for file in waiting(home / "spool") for row in read(file.path).spans]


async def test_traces_do_not_hold_who_called(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        caller = atlas.local_caller().id
        status = await client.call_tool("get_status", {})
        await client.call_tool("update_agent_memory", {"agent": "librarian", "label": "human", "value": "Ada."})
        await client.call_tool("chat_with_agent", {"agent": "librarian", "message": "Hello."})
    assert status.structured_content is not None
    assert status.structured_content["caller"] == caller
    files = [file.path.read_text() for file in waiting(home / "spool")]
    assert hashed_caller(caller) in "".join(files)
    assert not [text for text in files if caller in text]


async def test_traces_of_tools_that_only_read_are_tagged_as_such(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
        tools = (await client.list_tools()).tools
        for tool in tools:
            await client.call_tool(tool.name, {"no such argument": 1})
    kinds = {row["name"]: row["attributes"]["mlflow.traceTag.atlas.kind"] for row in spooled(home)}
    assert kinds == {t.name: "read" if t.annotations and t.annotations.read_only_hint else "work" for t in tools}
