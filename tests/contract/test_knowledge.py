"""Shared knowledge on Letta's own server: archives searched, and copies of documents in a folder of the agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from letta_client import AsyncLetta, NotFoundError

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.constellation.folder_copies import FolderCopies
from atlas_mcp.constellation.library import Library
from atlas_mcp.errors import LettaLost, LettaUnavailable
from atlas_mcp.letta.breaker import Breaker
from atlas_mcp.letta.connect import connect
from atlas_mcp.letta.faults import LettaRefused
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.server import Server
from atlas_mcp.settings import load_settings
from tests.contract.conftest import House
from tests.real_letta import RealLetta
from tests.scripted_model import system_text

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

PLAN = "The launch of the lighthouse is planned for the ninth of October."


@pytest.fixture
async def atlas(real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Atlas]:
    """An Atlas on an empty home, whose Letta is the real server."""
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    monkeypatch.setenv("LETTA_MODEL", real_letta.model)
    monkeypatch.setenv("LETTA_EMBEDDING_MODEL", real_letta.embedding)
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(real_letta: RealLetta) -> AsyncIterator[AsyncLetta]:
    async with AsyncLetta(base_url=real_letta.url, api_key="unused", max_retries=0, timeout=60) as opened:
        yield opened


async def until(what: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives as soon as it gives anything; the server tells nobody when it is done."""
    with anyio.fail_after(120):
        while not (given := await what()):  # noqa: ASYNC110 - another program's state
            await anyio.sleep(0.3)
        return given


async def agent_of(client: AsyncLetta, atlas: Atlas, name: str) -> str:
    agents = await (await atlas._keeper.rooms()).constellation(atlas.local_caller())
    (state,) = await agents._keeper._letta.find_agents([f"atlas-agent:{name}", *agents_tags(atlas)])
    return state.id


def agents_tags(atlas: Atlas) -> list[str]:
    from atlas_mcp.constellation.names import tags

    return tags(atlas.local_caller())


async def files_of(client: AsyncLetta, agent_id: str) -> list[Any]:
    """The files of the folders that the agent has."""
    folders = [f.id async for f in client.agents.folders.list(agent_id)]
    try:
        return [file for folder in folders async for file in client.folders.files.list(folder)]
    except NotFoundError:  # the file that a page follows was removed between the pages
        return await files_of(client, agent_id)


async def test_an_archive_is_searched_and_an_agent_that_is_gone_is_lost(house: House) -> None:
    agent = await house.agent()
    for text in ("The harvest begins in March.", "The lighthouse was built in 1882."):
        await house.client.agents.passages.create(agent.id, text=text)
    found = await house.door.knowledge.search_archive(agent.id, "when was the lighthouse built?", 1)
    assert [one.text for one in found] == ["The lighthouse was built in 1882."]
    assert found[0].id
    await house.client.agents.delete(agent.id)
    with pytest.raises(LettaLost):
        await house.door.knowledge.search_archive(agent.id, "lighthouse", 1)


async def test_agents_search_and_share_by_tools_that_atlas_executes(atlas: Atlas) -> None:
    me = atlas.local_caller()
    await atlas.share_knowledge(me, "Plan", PLAN)
    reply = await atlas.chat(me, "librarian", '@@tool search_knowledge {"query": "lighthouse launch"}\n@@say done')
    assert reply.status == "completed", reply
    scripted = '@@tool share_observation {"title": "Launch", "text": "The lighthouse launch was moved."}\n@@say done'
    await atlas.chat(me, "strategist", scripted)
    hits = (await atlas.search_memory(me, "lighthouse launch", kinds=["knowledge"])).hits
    assert [(hit.source, hit.agent) for hit in hits] == [("Plan", None), ("Launch", "strategist")]


async def test_what_an_agent_was_told_by_the_search_stands_in_its_thread(atlas: Atlas, real_letta: RealLetta) -> None:
    me = atlas.local_caller()
    await atlas.share_knowledge(me, "Plan", PLAN)
    await atlas.chat(me, "librarian", '@@tool search_knowledge {"query": "lighthouse"}\n@@say done')
    told = [m["content"] for m in real_letta.scripted.last["messages"] if m["role"] == "tool"]
    assert any("ninth of October" in str(text) for text in told)


async def test_all_kinds_of_memory_are_found_on_the_real_server(atlas: Atlas, client: AsyncLetta) -> None:
    me = atlas.local_caller()
    await atlas.share_knowledge(me, "Plan", PLAN)
    await atlas.chat(me, "librarian", "hello")
    agent_id = await agent_of(client, atlas, "librarian")
    await client.agents.passages.create(agent_id, text="A lighthouse keeper asked about the launch.")
    await atlas.update_memory(me, "librarian", "human", value="Cares for the lighthouse.")
    hits = (await atlas.search_memory(me, "lighthouse")).hits
    assert {hit.kind for hit in hits} == {"knowledge", "archive", "block"}
    assert {hit.agent for hit in hits if hit.kind != "knowledge"} == {"librarian"}


async def test_a_document_is_copied_to_a_folder_of_the_agents_renewed_and_removed_with_it(
    atlas: Atlas, client: AsyncLetta, real_letta: RealLetta
) -> None:
    me = atlas.local_caller()
    await atlas.chat(me, "librarian", "hello")
    agent_id = await agent_of(client, atlas, "librarian")
    made = await atlas.share_knowledge(me, "Plan / first", PLAN)
    (file,) = await until(lambda: files_of(client, agent_id))
    assert file.original_file_name.startswith("Plan _ first ")
    await until(lambda: copied(atlas, made.id, 1))
    await atlas.chat(me, "librarian", "hello again")
    assert "ninth of October" not in system_text(real_letta.scripted.last), "a copy costs no turn anything"

    await atlas.share_knowledge(me, "Plan / first", "The launch is in winter.")
    await until(lambda: copied(atlas, made.id, 2))
    (renewed,) = await files_of(client, agent_id)
    assert renewed.original_file_name == file.original_file_name

    await atlas.chat(me, "strategist", "hello")
    other = await atlas.share_knowledge(me, "Other", "Something else.")
    await until(lambda: copied(atlas, other.id, 1))
    strategist = await agent_of(client, atlas, "strategist")
    assert await until(lambda: only(client, strategist, 2)), "an agent that came later reads them too"

    rooms = await atlas._keeper.rooms()
    assert await rooms.library(me).delete(made.id)
    remaining = await until(lambda: only(client, agent_id, 1))
    assert remaining[0].original_file_name.startswith("Other ")


async def copied(atlas: Atlas, document_id: str, revision: int) -> bool:
    from sqlalchemy import select

    from atlas_mcp.store.tables import document_copy

    rooms = await atlas._keeper.rooms()
    async with rooms.record.read() as db:
        rows = await db.execute(select(document_copy).where(document_copy.c.document == document_id))
        return any(row.revision == revision for row in rows)


async def only(client: AsyncLetta, agent_id: str, count: int) -> list[Any] | None:
    files = await files_of(client, agent_id)
    return files if len(files) == count else None


@asynccontextmanager
async def copies_of(atlas: Atlas, url: str, name: str) -> AsyncIterator[FolderCopies]:
    """Copies that nobody brings up to date but the test, of a caller of its own."""
    rooms = await atlas._keeper.rooms()
    library = Library(Caller(id=f"key:{name}", kind="key"), rooms.record)
    await library.share("Plan", PLAN)
    server = Server(name="real", base_url=url)
    async with connect(server, Breaker(server.shown)) as letta:
        yield FolderCopies(letta, rooms.record, rooms.keeper.locks, library)


async def test_a_folder_that_was_deleted_there_is_made_anew(atlas: Atlas, client: AsyncLetta) -> None:
    async with copies_of(atlas, str(client.base_url), "deleted") as copies:
        assert copies.possible
        assert await copies.catch_up()
        folder = await folder_of(client, copies)
        await client.folders.delete(folder)
        await copies._documents.share("Other", "Something else.")
        assert await copies.catch_up()
        again = await folder_of(client, copies)
        assert again != folder
        assert len([f async for f in client.folders.files.list(again)]) == 2


async def folder_of(client: AsyncLetta, copies: FolderCopies) -> str:
    from atlas_mcp.constellation.names import caller_hash

    wanted = f"atlas-knowledge-{caller_hash(copies._caller)}"
    (folder,) = [f.id async for f in client.folders.list(name=wanted)]
    return folder


async def test_what_could_not_be_copied_is_copied_when_letta_is_back(
    atlas: Atlas, client: AsyncLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copies_of(atlas, str(client.base_url), "away") as copies:
        real = copies._letta.knowledge
        away = AsyncLetta(base_url="http://127.0.0.1:9", api_key="x", max_retries=0)
        with monkeypatch.context() as patch:
            patch.setattr(copies._letta, "knowledge", type(real)(away))
            with pytest.raises(LettaUnavailable):
                await copies.catch_up()
        assert await copies.catch_up()
        assert len([f async for f in client.folders.files.list(await folder_of(client, copies))]) == 1
        assert await copies.catch_up(), "and then there is nothing left to do"


async def test_a_text_that_letta_cannot_read_is_told_and_copied_when_it_can(
    atlas: Atlas, real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = atlas.local_caller()
    await atlas.chat(me, "librarian", "hello")
    agents = await (await atlas._keeper.rooms()).constellation(me)
    letta = agents._copies._letta

    async def refuse(*_: Any, **__: Any) -> Any:
        raise LettaRefused("Letta could not read the file: no reason given", 422)

    with monkeypatch.context() as patch:
        patch.setattr(letta.knowledge, "_read", refuse)
        made = await atlas.share_knowledge(me, "Plan", PLAN)
        notes = await until(lambda: told(atlas))
        assert "could not read the file" in notes[0]
    await until(lambda: copied(atlas, made.id, 1))
    assert not await told(atlas)
    assert (await atlas.search_memory(me, "lighthouse", kinds=["knowledge"])).hits


async def told(atlas: Atlas) -> list[str]:
    return [note for note in (await atlas.status(atlas.local_caller())).notes if "copied" in note]
