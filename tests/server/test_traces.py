"""What the server's calls leave in the spool: who called stays unnamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.spool import waiting

pytestmark = pytest.mark.anyio


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
