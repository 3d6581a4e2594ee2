"""Servers of others, as people use them: the reference servers from npm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.npm import needs, program
from tests.servers.conftest import opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
SCOPE = "@modelcontextprotocol"


def peer(name: str, *arguments: str, **env: str) -> dict[str, Any]:
    command, *before = program(f"{SCOPE}/{name}", f"mcp-{name}")
    return {"command": command, "args": [*before, *arguments], "env": env}


@needs(f"{SCOPE}/server-everything")
async def test_the_server_of_everything(tmp_path: Path) -> None:
    async with opened(tmp_path, {"all": peer("server-everything", "stdio")}) as house:
        assert {"all_echo", "all_get-sum", "all_get-tiny-image"} <= house.names
        assert await house.call("all_echo", message="hello") == "Echo: hello"
        assert "is 5" in await house.call("all_get-sum", a=2, b=3)
        picture = await house.call("all_get-tiny-image")
        assert "(A picture, image/png, " in picture
        assert len(picture) < 1_000
        steps = await house.call("all_trigger-long-running-operation", duration=1, steps=2)
        assert "completed" in steps
        structured = await house.call("all_get-structured-content", location="New York")
        assert "temperature" in structured
        assert "all_get-sum: " in await house.fails("all_get-sum", a="two", b=3)
        link = await house.call("all_get-resource-links", count=2)
        assert "(A link to " in link
        embedded = await house.call("all_get-resource-reference", resourceType="Text", resourceId=1)
        assert "demo://" in embedded


@needs(f"{SCOPE}/server-filesystem")
async def test_the_server_of_files_keeps_to_its_folder_and_says_which_tools_only_read(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("The harbour closed in 1955.")
    async with opened(tmp_path, {"files": peer("server-filesystem", str(folder))}) as house:
        assert "closed in 1955" in await house.call("files_read_text_file", path=str(folder / "a.txt"))
        await house.call("files_write_file", path=str(folder / "b.txt"), content="new")
        assert (folder / "b.txt").read_text() == "new"
        assert "files says that it failed" in await house.fails("files_read_text_file", path="/etc/passwd")
        marks = {tool.name: tool.marks for tool in house.servers.tools}
    assert marks["files_read_text_file"] == ("read",)
    assert marks["files_write_file"] == ("destroy",)


@needs(f"{SCOPE}/server-memory")
async def test_the_server_of_memory_keeps_what_it_is_told(tmp_path: Path) -> None:
    kept = str(tmp_path / "memory.jsonl")
    async with opened(tmp_path, {"memory": peer("server-memory", MEMORY_FILE_PATH=kept)}) as house:
        entity = {"name": "quay", "entityType": "place", "observations": ["It silted up."]}
        await house.call("memory_create_entities", entities=[entity])
        found = json.loads(await house.call("memory_search_nodes", query="quay"))
    assert found["entities"] == [entity]
