"""Materials by path: from allowed folders only, never through a link out of them, never over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mcp.client import Client
from mcp.types import INTERNAL_ERROR, ErrorData, ListRootsResult, Root
from pydantic import FileUrl

from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import InvalidInput
from atlas_mcp.server import create_server
from atlas_mcp.server.materials import MaterialInput, read_materials
from atlas_mcp.settings import load_settings
from tests.server.doors import ERAS, LEGACY, call, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.client import ClientRequestContext

pytestmark = pytest.mark.anyio

NO_ROOTS = ListRootsResult(roots=[])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    (made / "note.md").write_text("Tea is grown in Assam.", encoding="utf-8")
    (tmp_path / "secret.md").write_text("Secret.", encoding="utf-8")
    return made


async def read(path: str, *folders: Path, transport: str = "stdio") -> str:
    given = [MaterialInput(name="note", path=path)]
    return (await read_materials(given, "http" if transport == "http" else "stdio", folders, NO_ROOTS))[0].text


async def test_a_file_in_an_allowed_folder_is_read(folder: Path) -> None:
    assert await read(str(folder / "note.md"), folder) == "Tea is grown in Assam."
    assert await read("note.md", folder) == "Tea is grown in Assam."


@pytest.mark.parametrize("path", ["../secret.md", "/etc/hostname", "link.md"])
async def test_what_lies_outside_is_refused(folder: Path, path: str) -> None:
    (folder / "link.md").symlink_to(folder.parent / "secret.md")
    with pytest.raises(InvalidInput, match=r"materials\.0\.path: .*outside the allowed folders"):
        await read(path, folder)


async def test_what_is_no_text_file_is_refused(folder: Path) -> None:
    (folder / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    for path, words in (("image.png", "not UTF-8"), ("none.md", "no such file"), (".", "no such file")):
        with pytest.raises(InvalidInput, match=words):
            await read(path, folder)


@pytest.mark.parametrize("path", ["a\0b", "x" * 5_000, "~nobody/x"])
async def test_a_path_that_no_file_can_have_is_refused_in_words(folder: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match=r"materials\.0\.path"):
        await read(path, folder)


async def test_with_no_allowed_folder_the_way_to_allow_one_is_said(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="ATLAS_MATERIALS"):
        await read(str(folder / "note.md"))


async def test_over_http_a_path_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="refused over HTTP"):
        await read(str(folder / "note.md"), folder, transport="http")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as connected:
        yield connected


async def test_a_material_is_a_text_or_a_path_and_has_its_own_name(client: Client) -> None:
    for materials, words in (
        ([{"name": "a"}], "materials.0: exactly one of text and path"),
        ([{"name": "a", "text": "x", "path": "y"}], "materials.0: exactly one"),
        ([{"name": "a", "text": "x"}, {"name": "a", "text": "y"}], "same name"),
        ([{"name": "", "text": "x"}], "materials.0.name"),
        ([{"name": "a", "text": ""}], "materials.0.text"),
        ([{"name": "a", "text": "x" * 2_000_001}], "2,000,001 characters"),
        ([{"nme": "a", "text": "x"}], "materials.0.nme"),
    ):
        assert words in await refused(client, "run_team_task", goal="x", materials=materials)
    assert not (await call(client, "list_runs"))["runs"]


@pytest.mark.parametrize("era", list(ERAS))
async def test_the_clients_own_roots_are_allowed(folder: Path, era: str) -> None:
    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(folder.as_uri()))])

    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio"), mode=ERAS[era], list_roots_callback=roots) as client,
    ):
        material = {"name": "note", "path": str(folder / "note.md")}
        run = await call(client, "run_team_task", goal="Where is tea grown?", materials=[material], wait_seconds=0)
        assert run["run_id"]
        outside = {"name": "note", "path": str(folder.parent / "secret.md")}
        assert "outside" in await refused(client, "run_team_task", goal="x", materials=[outside], wait_seconds=0)


async def test_a_client_that_fails_to_tell_its_roots_is_served_without_them() -> None:
    """In the older protocol ATLAS asks by itself; in the newer one the client gives up its own call."""

    async def roots(context: ClientRequestContext) -> ErrorData:
        return ErrorData(code=INTERNAL_ERROR, message="not today")

    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio"), mode=ERAS[LEGACY], list_roots_callback=roots) as client,
    ):
        assert (await call(client, "run_team_task", goal="Where is tea grown?", wait_seconds=0))["run_id"]
        material = {"name": "note", "path": "note.md"}
        assert "no folder is allowed" in await refused(client, "run_team_task", goal="x", materials=[material])
