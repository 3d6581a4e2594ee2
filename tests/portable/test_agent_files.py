"""Letta's agent files: one agent out, one agent in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.errors import BrokenPackage, IllegalChange, InvalidInput, OverLimit, UnknownAgent
from tests.portable.conftest import atlas_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.atlas import Atlas

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
async def atlas(tmp_path: Path) -> AsyncIterator[Atlas]:
    async with atlas_on(tmp_path / "home") as opened:
        yield opened


async def memory(atlas: Atlas, agent: str) -> dict[str, str]:
    return {b.label: b.value for b in await atlas.get_memory(atlas.local_caller(), agent)}


def written(path: Path, **agent: Any) -> Path:
    """A file as Letta writes them, with fields that nobody here knows."""
    blocks = [
        {"id": "block-0", "label": "persona", "value": "I am Bo, a diver.", "limit": 5000, "hidden": None},
        {"id": "block-1", "label": "human", "value": "Ada dives too.", "limit": 5000},
        {"id": "block-2", "label": "wrecks", "value": "The Vasa sank in 1628.", "limit": 5000},
    ]
    one = {
        "id": "agent-0", "name": "Bo the Diver!", "description": "Dives.", "block_ids": [b["id"] for b in blocks],
        "messages": [{"role": "user", "content": "hi", "id": "message-0"}], "secrets": {"KEY": "s3cret"},
    }  # fmt: skip
    tools = [{"id": "tool-0", "name": "dive", "source_code": "def dive(): ..."}]
    path.write_text(json.dumps({"agents": [one | agent], "blocks": blocks, "tools": tools, "skills": []}))
    return path


async def test_a_file_of_lettas_becomes_an_agent_of_the_callers_own_with_all_of_its_memory(
    atlas: Atlas, tmp_path: Path
) -> None:
    me = atlas.local_caller()
    carried = await atlas.portable.import_agent(me, written(tmp_path / "bo.af"))
    assert "Talk to it as bo_the_diver." in carried.notes
    assert any("wrecks" in note for note in carried.notes)
    assert any("dive" in note and "left out" in note for note in carried.notes)
    has = await memory(atlas, "bo_the_diver")
    assert has["persona"] == "I am Bo, a diver."
    assert has["human"] == "Ada dives too."
    found = await atlas.search_memory(me, "Vasa", agent="bo_the_diver")
    assert any("1628" in hit.text for hit in found.hits)
    assert (await atlas.chat(me, "bo_the_diver", "Hello")).status == "completed"
    assert "bo_the_diver" in [a.name for a in await atlas.list_agents(me)]


async def test_an_agent_there_is_is_replaced_only_on_demand_and_can_be_undone(atlas: Atlas, tmp_path: Path) -> None:
    me, file = atlas.local_caller(), written(tmp_path / "bo.af", name="librarian")
    before = (await atlas.get_memory(me, "librarian", "human"))[0]
    with pytest.raises(IllegalChange, match="--replace"):
        await atlas.portable.import_agent(me, file)
    await atlas.portable.import_agent(me, file, replace=True)
    assert (await memory(atlas, "librarian"))["human"] == "Ada dives too."
    undone = await atlas.undo_memory(me, "librarian", "human", before.revision)
    assert undone.value == before.value


async def test_an_agent_that_went_through_a_file_remembers_the_same(atlas: Atlas, tmp_path: Path) -> None:
    me, file = atlas.local_caller(), tmp_path / "librarian.af"
    await atlas.chat(me, "librarian", "Remember this: my name is Ada.")
    await atlas.update_memory(me, "librarian", "human", value="Ada keeps bees.")
    carried = await atlas.portable.export_agent(me, "librarian", file)
    assert carried.turns == 1
    await atlas.portable.import_agent(me, file, name="second")
    first, second = await memory(atlas, "librarian"), await memory(atlas, "second")
    assert second["human"] == "Ada keeps bees."
    assert second.items() <= first.items()  # the first belongs to a group, whose notes it shares
    told = json.loads(file.read_text())["agents"][0]["messages"]
    assert [m["role"] for m in told] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no agent file"),
        ("[]", "no agent file"),
        ('{"agents": [], "blocks": []}', "it holds 0 agents"),
        ('{"agents": [{"name": "a"}, {"name": "b"}], "blocks": []}', "it holds 2 agents (a, b)"),
        ('{"agents": [{"name": "a", "block_ids": ["block-9"]}], "blocks": []}', "'block-9', which is not in the file"),
        ('{"agents": [{"name": 5}], "blocks": []}', "agents.0.name"),
        ("[" * 100_000, "no agent file"),
    ],
)
async def test_a_file_that_is_none_is_refused(atlas: Atlas, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.af").write_text(text)
    with pytest.raises(BrokenPackage) as refused:
        await atlas.portable.import_agent(atlas.local_caller(), tmp_path / "bad.af")
    assert words in str(refused.value)


async def test_what_cannot_be_an_agent_here_changes_nothing(atlas: Atlas, tmp_path: Path) -> None:
    me, before = atlas.local_caller(), await atlas.list_agents(atlas.local_caller())
    file = written(tmp_path / "bo.af")
    with pytest.raises(InvalidInput, match="--agent"):
        await atlas.portable.import_agent(me, file, name="Bo!")
    file.write_text(file.read_text().replace("Ada dives too.", "x" * 9000))
    with pytest.raises(OverLimit, match="human"):
        await atlas.portable.import_agent(me, file)
    with pytest.raises(UnknownAgent):
        await atlas.portable.export_agent(me, "nobody", tmp_path / "nobody.af")
    assert await atlas.list_agents(me) == before
