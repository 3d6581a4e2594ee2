"""Agents in Letta: created once, found again, brought up to date, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import delete, update

from atlas_mcp.constellation.agent_rows import SHARED
from atlas_mcp.constellation.names import tags
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.tables import block as block_table
from tests.constellation.conftest import open_world

if TYPE_CHECKING:
    from atlas_mcp.model.agent import Roster
    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")


def with_persona(roster: Roster, name: str, persona: str) -> Roster:
    agents = [a.model_copy(update={"persona": persona}) if a.name == name else a for a in roster.agents]
    return roster.model_copy(update={"agents": tuple(agents)})


def with_limits(roster: Roster, limits: dict[str, int]) -> Roster:
    blocks = [b.model_copy(update={"limit": limits.get(b.label, b.limit)}) for b in roster.blocks]
    return roster.model_copy(update={"blocks": tuple(blocks)})


PROGRAM = """
import sys, anyio
from pathlib import Path
from tests.constellation.conftest import open_world

async def main():
    async with open_world(Path(sys.argv[1])) as world:
        sys.stdout.write("ready\\n"); sys.stdout.flush()
        sys.stdin.readline()
        turn = await world.of(client=sys.argv[2]).take_turn("strategist", "hello", conversation=None, key=sys.argv[2])
        assert turn.reply == "ok: hello", turn

anyio.run(main)
"""


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True)


def forget_the_record(home: Path) -> None:
    for leftover in home.glob("atlas.db*"):
        leftover.unlink()


async def test_an_agent_has_its_persona_its_blocks_and_lettas_own_memory_tools(world: World) -> None:
    await world.of().take_turn("strategist", "hello", conversation=None, key="k")
    (agent,) = await world.letta.find_agents(tags(ME, "strategist"))
    blocks = {b.label: b for b in agent.blocks}
    assert blocks["persona"].value == world.roster.agent("strategist").persona
    assert {label: b.limit for label, b in blocks.items()} == {
        "persona": 2000,
        "human": 2000,
        "current_state": 200,
        "active_context": 400,
        "team_notes": 2000,
    } | {b.label: b.limit for b in world.roster.notes_of("strategist")}
    assert agent.model == "test/obedient"
    assert agent.system.startswith("You are strategist:")


async def test_an_agent_is_created_once_by_many_at_the_same_time(world: World) -> None:
    keepers = [world.of(client=str(n)) for n in range(6)]
    async with anyio.create_task_group() as tasks:
        for n, constellation in enumerate(keepers):
            tasks.start_soon(constellation.open_conversation, ("strategist", "librarian")[n % 2])
    assert world.wire.requests.count("POST /v1/agents/") == 2
    shared = {b.label for agent in ("strategist", "librarian") for b in world.roster.blocks_of(agent) if b.shared}
    assert world.wire.requests.count("POST /v1/blocks/") == len(shared)


async def test_an_agent_is_created_once_by_two_processes(home: Path) -> None:
    processes = [started(home, "one"), started(home, "two")]
    try:
        for process in processes:
            assert process.stdout
            assert await anyio.to_thread.run_sync(process.stdout.readline) == "ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [await anyio.to_thread.run_sync(p.wait) for p in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    async with open_world(home) as world:
        assert len(await world.letta.find_agents(tags(ME))) == 1


async def test_after_a_restart_agents_are_found_without_asking_letta(home: Path) -> None:
    async with open_world(home) as world:
        first = await world.of().take_turn("librarian", "hello", conversation=None, key="1")
    async with open_world(home) as world:
        assert await world.of().thread("librarian", None) == first.conversation
        assert world.wire.requests == []
        await world.of().take_turn("librarian", "again", conversation=None, key="2")
        assert not [r for r in world.wire.requests if r.endswith("/v1/agents/") or r.startswith("PATCH")]
        assert [m.text for m in world.script.seen[-1] if m.type == "human"] == ["hello", "again"]


async def test_a_persona_that_changed_in_the_roster_is_updated_and_the_old_one_stays_in_the_history(
    world: World,
) -> None:
    await world.of().take_turn("librarian", "hello", conversation=None, key="1")
    changed = world.of(roster=with_persona(world.roster, "librarian", "I am new here."))
    await changed.take_turn("librarian", "hello", conversation=None, key="2")
    (persona,) = await changed.get_memory("librarian", "persona")
    assert (persona.value, persona.author, persona.revision) == ("I am new here.", "roster", 2)
    assert world.wire.requests.count("POST /v1/agents/") == 1
    assert "I am new here." in world.script.seen[-1][0].text


async def test_what_an_agent_or_its_caller_made_of_a_persona_is_kept_when_something_else_changes(
    home: Path,
) -> None:
    async with open_world(home) as world:
        await world.of().update_memory("librarian", "persona", append="I collect stamps.")
        edited = (await world.of().get_memory("librarian", "persona"))[0].value
    async with open_world(home, handle="test/other") as world:
        turn = await world.of().take_turn("librarian", "hello", conversation=None, key="1")
        assert turn.model == "test:other"
        assert (await world.of().get_memory("librarian", "persona"))[0].value == edited
        (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
        assert agent.model == "test/other"


async def test_a_block_whose_limit_changed_is_given_the_new_one_and_never_cut(world: World) -> None:
    await world.of().update_memory("librarian", "human", value="x" * 50)
    other = world.of(roster=with_limits(world.roster, {"human": 20, "team_notes": 90}))
    await other.take_turn("librarian", "hello", conversation=None, key="1")
    blocks = {b.label: b for b in await other.get_memory("librarian")}
    assert (blocks["human"].limit, blocks["human"].chars) == (50, 50)
    assert blocks["team_notes"].limit == 90


async def test_an_agent_that_was_created_but_not_recorded_is_found_by_its_tags(home: Path) -> None:
    async with open_world(home) as world:
        await world.of().update_memory("librarian", "human", value="likes tea")
    forget_the_record(home)
    async with open_world(home) as world:
        (human,) = await world.of().get_memory("librarian", "human")
        assert human.value == "likes tea"
        assert "POST /v1/agents/" not in world.wire.requests


async def test_an_agent_that_letta_lost_is_created_anew_with_its_memory_and_it_is_said(world: World) -> None:
    me = world.of()
    first = await me.take_turn("librarian", "hello", conversation=None, key="1")
    await me.update_memory("librarian", "human", value="likes tea")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    await world.letta.delete_agent(agent.id)
    told: list[str] = []

    async def on_event(actor: str, type: str, text: str, **more: object) -> None:
        told.append(f"{type}: {text}")

    turn = await me.take_turn("librarian", "are you there?", conversation=None, key="2", on_event=on_event)
    assert turn.reply == "ok: are you there?"
    assert turn.conversation != first.conversation
    assert told == [
        "agent_recreated: Letta had lost librarian; it was created anew, with its blocks as they were recorded last"
    ]
    (human,) = await me.get_memory("librarian", "human")
    assert (human.value, human.revision) == ("likes tea", 3)
    assert "likes tea" in world.script.seen[-1][0].text


async def test_memory_of_an_agent_that_letta_lost_can_still_be_read_and_changed(world: World) -> None:
    me = world.of()
    await me.update_memory("librarian", "human", value="likes tea")
    await me.update_memory("librarian", "team_notes", value="the deadline is Friday")
    (agent,) = await world.letta.find_agents(tags(ME, "librarian"))
    await world.letta.delete_agent(agent.id)
    for block in agent.blocks:
        await world.letta._client.blocks.delete(block.id)  # the test plays the server's owner
    assert (await me.update_memory("librarian", "human", append="and cake")).value == "likes tea\nand cake"
    assert (await me.get_memory("librarian", "team_notes"))[0].value == "the deadline is Friday"


async def test_callers_never_see_each_others_agents_or_blocks(world: World) -> None:
    mine, yours = world.of("local:a"), world.of("key:b")
    await mine.update_memory("librarian", "human", value="mine")
    await mine.update_memory("librarian", "team_notes", value="my notes")
    assert (await yours.get_memory("librarian", "human"))[0].value == ""
    assert (await yours.get_memory("strategist", "team_notes"))[0].value == ""
    await yours.take_turn("strategist", '@tool memory_insert {"label": "team_notes", "new_string": "yours"}',
                          conversation=None, key="k")  # fmt: skip
    assert (await mine.get_memory("librarian", "team_notes"))[0].value == "my notes"
    (a,) = await world.letta.find_agents(tags(Caller(id="local:a")))
    b = await world.letta.find_agents(tags(Caller(id="key:b")))
    assert len(b) == 2
    assert not {x.id for x in a.blocks} & {x.id for one in b for x in one.blocks}


async def test_a_renamed_agent_is_a_new_one_and_the_old_one_is_there_again_with_its_name(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "roster.toml"
    path.write_text('extends = "default"\n[rename.agents]\nlibrarian = "archivist"\n')
    await world.of().update_memory("librarian", "human", append="Name: Ada")
    (renamed,) = await world.of(roster=load_roster(path)).get_memory("archivist", "human")
    assert "Ada" not in renamed.value
    (again,) = await world.of().get_memory("librarian", "human")
    assert "Name: Ada" in again.value


async def test_a_block_of_another_caller_is_never_attached_whatever_the_record_says(world: World) -> None:
    mine, yours = world.of("local:a"), world.of("key:b")
    await mine.update_memory("librarian", "team_notes", value="my notes")
    await yours.update_memory("librarian", "team_notes", value="your notes")
    (a,) = await world.letta.find_agents(tags(Caller(id="local:a")))
    foreign = next(b.id for b in a.blocks if b.label == "team_notes")
    shared = (block_table.c.label == "team_notes", block_table.c.owner == SHARED)
    async with world.record.write() as db:  # as a record that was damaged, or written by somebody hostile, might say
        await db.execute(delete(block_table).where(block_table.c.caller == "local:a", *shared))
        await db.execute(update(block_table).where(block_table.c.caller == "key:b", *shared).values(letta_id=foreign))
    await yours.update_memory("librarian", "team_notes", value="still mine")
    await yours.take_turn("strategist", "hello", conversation=None, key="k")
    theirs = [s for s in await world.letta.find_agents(tags(Caller(id="key:b"))) if s.name == "strategist"]
    assert foreign not in {b.id for s in theirs for b in s.blocks}
    assert "my notes" not in world.script.seen[-1][0].text
    assert (await world.letta.block(foreign)).value == "my notes"
