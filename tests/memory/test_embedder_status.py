"""The embedder as a client of the server sees it: what the settings may say, and what the status tells."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.memory.embedding_server import Call, EmbeddingServer, Reply, embedding_server, refuse_with
from tests.memory.test_minilm import WEIGHTS, write
from tests.server.doors import ERAS, MODERN, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as started:
        monkeypatch.setenv("ATLAS_EMBEDDER", "openai-compatible")
        monkeypatch.setenv("ATLAS_EMBEDDING_URL", started.url)
        monkeypatch.setenv("ATLAS_EMBEDDING_MODEL", "m-1")
        monkeypatch.setenv("ATLAS_EMBEDDING_KEY", "sk-secret")
        yield started


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    with anyio.fail_after(120):
        async with (
            open_atlas(load_settings()) as atlas,
            Client(create_server(atlas, transport="stdio"), mode=ERAS[MODERN]) as client,
        ):
            yield client


async def embedder(client: Client) -> dict[str, Any]:
    status = await call(client, "get_status")
    assert status["ok"]
    (room,) = [room for room in status["rooms"] if room["name"] == "embedder"]
    assert "sk-secret" not in str(status)
    return room


async def becomes(client: Client, said: str) -> dict[str, Any]:
    """The room as soon as it says that; the deadline is that of `connected`."""
    while said not in (room := await embedder(client))["text"]:  # noqa: ASYNC110 - a status rings no bell
        await anyio.sleep(0.02)
    return room


async def test_without_files_the_status_says_what_would_make_search_better(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(home.parent))
    async with connected() as client:
        assert (await embedder(client))["health"] == "idle"
        await call(client, "share_knowledge", name="plan", text="We begin in spring.")
        room = await embedder(client)
        assert (room["health"], room["text"]) == ("ok", "Search is by words alone: no embedder is here.")
        assert str(home / "models" / "all-MiniLM-L6-v2") in room["next_step"]


async def test_files_that_are_put_into_the_home_are_used_without_a_setting(home: Path):
    write(home / "models" / "all-MiniLM-L6-v2", "onnx", WEIGHTS)
    async with connected() as client:
        await call(client, "share_knowledge", name="plan", text="We begin in spring.")
        assert (await becomes(client, "1 of 1 passages have their vector of 12 numbers"))["health"] == "ok"


async def test_the_status_tells_how_far_the_vectors_are_and_which_texts_have_none(server: EmbeddingServer):
    async def rule(call: Call) -> Reply:
        return await refuse_with(400, "too long")(call) if any("endless" in t for t in call.texts) else Reply()

    server.rule = rule
    async with connected() as client:
        await call(client, "share_knowledge", name="plan", text="We begin in spring.")
        await call(client, "share_knowledge", name="tale", text="An endless tale.")
        room = await becomes(client, "1 of 2 passages have their vector of 16 numbers.")
        assert (await becomes(client, "It cannot take 1"))["health"] == "ok"
        assert room["text"].startswith("openai-compatible, m-1: ")
        assert {call.key for call in server.calls} == {"sk-secret"}


async def test_a_refused_key_is_a_warning_with_its_next_step_and_the_words_answer(server: EmbeddingServer):
    server.rule = refuse_with(401, "bad key")
    async with connected() as client:
        await call(client, "share_knowledge", name="plan", text="We begin in spring.")
        room = await becomes(client, "it answered with status 401: bad key. Search is by words alone meanwhile.")
        assert (room["health"], room["next_step"]) == ("warning", "Check ATLAS_EMBEDDING_KEY.")
        hits = (await call(client, "search_memory", query="spring"))["hits"]
        assert [hit["source"] for hit in hits] == ["plan"]


async def test_a_search_finds_what_means_the_same_in_other_words(server: EmbeddingServer):
    meant = {"car": [1.0, 0.1, 0.0], "automobile": [1.0, 0.0, 0.1], "tea": [0.0, 1.0, 0.0]}

    async def rule(call: Call) -> Reply:
        data = [
            {"index": n, "embedding": next((v for word, v in meant.items() if word in text), [0.0, 0.0, 1.0])}
            for n, text in enumerate(call.texts)
        ]
        return Reply(content=json.dumps({"data": data}).encode())

    server.rule = rule
    async with connected() as client:
        await call(client, "share_knowledge", name="garage", text="The automobile is red.")
        await call(client, "share_knowledge", name="kitchen", text="The tea is green.")
        await becomes(client, "2 of 2 passages have their vector of 3 numbers.")
        hits = (await call(client, "search_memory", query="car", kinds=["knowledge"]))["hits"]
        assert hits[0]["source"] == "garage"


async def test_nothing_waits_for_an_embedder_that_hangs(server: EmbeddingServer):
    async def hang(_: Call) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    server.rule = hang
    async with connected() as client:
        await call(client, "share_knowledge", name="plan", text="We begin in spring.")
        await server.asked()
        assert (await call(client, "search_memory", query="spring"))["hits"]
        assert (await call(client, "chat_with_agent", agent="librarian", message="Hello"))["status"] == "completed"
        assert (await embedder(client))["health"] == "idle"


@pytest.mark.parametrize("name", ["openai", "local:", "HASH", "minilm"])
def test_a_name_nobody_knows_is_refused_at_the_start(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ATLAS_EMBEDDER", name)
    with pytest.raises(ConfigurationError, match=r"openai-compatible, voyage or local:PATH") as caught:
        load_settings()
    assert caught.value.argument == "ATLAS_EMBEDDER"


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ATLAS_EMBEDDING_KEY", "sk-secret")
    monkeypatch.setenv("ATLAS_EMBEDDING_URL", "https://me:sk-secret@there/v1")
    assert "sk-secret" not in repr(load_settings())
