"""A constellation goes from the embedded Letta to a real one and back, by file and by move, and is the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.portable.conftest import atlas_on, content, fill_little
from tests.portable.lettas import HERE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real_letta import RealLetta

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]


def settings(real: RealLetta, *, weight: float = 1) -> dict[str, Any]:
    """Settings with the real server alone, or beside the embedded Letta with no weight of its own."""
    server = {"name": "real", "base_url": real.url}
    servers = [server] if weight else [HERE, server | {"weight": 0}]
    return {"letta_servers": servers, "letta_model": real.model, "letta_embedding_model": real.embedding}


def of_agents(path: Path) -> dict[str, Any]:
    """What the file says, but for the agents' system prompts: each Letta's agents are told of the tools they have."""
    told = content(path)
    for agent in told["agents.json"]:
        del agent["system"]
    return told


async def test_a_constellation_goes_by_file_from_embedded_to_real_and_back(
    real_letta: RealLetta, tmp_path: Path
) -> None:
    files = [tmp_path / f"{number}.zip" for number in range(3)]
    async with atlas_on(tmp_path / "a") as here:
        await fill_little(here)
        await here.portable.export(here.local_caller(), files[0])
    async with atlas_on(tmp_path / "b", **settings(real_letta)) as there:
        me = there.local_caller("a host")
        await there.portable.import_(me, files[0])
        await there.portable.export(me, files[1])
        assert of_agents(files[1]) == of_agents(files[0])
        reply = await there.chat(me, "librarian", "@@say I am here.")
        assert reply.reply == "I am here."
        human = await there.update_memory(me, "librarian", "human", append="She moved.")
        assert (await there.undo_memory(me, "librarian", "human", human.revision - 1)).value == (
            "Ada keeps a lighthouse.\nShe likes oil lamps."
        )
        await there.portable.export(me, files[1])
    async with atlas_on(tmp_path / "c") as back:
        me = back.local_caller("a host")
        await back.portable.import_(me, files[1])
        await back.portable.export(me, files[2])
        assert of_agents(files[2]) == of_agents(files[1])
        assert (await back.chat(me, "librarian", "Hello")).status == "completed"


async def test_a_constellation_moves_to_a_real_server_and_back(real_letta: RealLetta, tmp_path: Path) -> None:
    before, there, after = (tmp_path / f"{name}.zip" for name in ("before", "there", "after"))
    async with atlas_on(tmp_path / "home", **settings(real_letta, weight=0)) as atlas:
        me = atlas.local_caller("a host")
        await fill_little(atlas)
        await atlas.portable.export(me, before)
        await atlas.portable.move(me, "real")
        await atlas.portable.export(me, there)
        assert of_agents(there) == of_agents(before)
        assert (await atlas.chat(me, "librarian", "@@say I am here.")).reply == "I am here."
        await atlas.portable.export(me, there)
        await atlas.portable.move(me, "embedded")
        await atlas.portable.export(me, after)
        assert of_agents(after) == of_agents(there)
        rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
        real = await rooms.lettas.named("real")
        theirs = await real.find_agents(["atlas"])
        mine = {t for a in await (await rooms.lettas.named("embedded")).find_agents(["atlas"]) for t in a.tags}
        assert not [a for a in theirs if set(a.tags) & {t for t in mine if t.startswith("atlas-caller:")}]


async def test_the_real_server_imports_our_agent_file_and_we_import_its_own(
    real_letta: RealLetta, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.af", tmp_path / "theirs.af"
    async with atlas_on(tmp_path / "home") as atlas:
        me = atlas.local_caller("a host")
        await atlas.chat(me, "librarian", "Remember this: my name is Ada.")
        await atlas.update_memory(me, "librarian", "human", value="Ada keeps bees.")
        await atlas.portable.export_agent(me, "librarian", ours)
        async with httpx.AsyncClient(base_url=real_letta.url, timeout=60) as http:
            form = {"model": real_letta.model, "append_copy_suffix": "false"}
            answer = await http.post("/v1/agents/import", files={"file": ("a.af", ours.read_bytes())}, data=form)
            assert answer.status_code == 200, answer.text
            [agent] = answer.json()["agent_ids"]
            state = (await http.get(f"/v1/agents/{agent}")).json()
            assert state["name"] == "librarian"
            assert {b["label"]: b["value"] for b in state["blocks"]}["human"] == "Ada keeps bees."
            assert {"memory_insert", "archival_memory_search"} <= {t["name"] for t in state["tools"]}
            send = {"messages": [{"role": "user", "content": "@@say I know."}], "streaming": False}
            said = (await http.post(f"/v1/agents/{agent}/messages", json=send)).json()["messages"]
            assert said[-1]["content"] == "I know."
            assert "Remember this: my name is Ada." in json.dumps(real_letta.scripted.last), "it knows what was said"
            theirs.write_text((await http.get(f"/v1/agents/{agent}/export")).text)
        await atlas.portable.import_agent(me, theirs, name="second")
        human = (await atlas.get_memory(me, "second", "human"))[0]
        assert human.value == "Ada keeps bees."
