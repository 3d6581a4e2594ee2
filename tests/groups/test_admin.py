"""Agents and groups that a caller adds, lists and deletes; and what is refused, with the words that help."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import BrokenRoster
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.groups.conftest import agent_of, call, refused, speaks, who
from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

EDITOR = {
    "name": "night_editor",
    "description": "Reads what the day left behind.",
    "persona": "I read at night and change as little as I can.",
}


async def test_admin_tools_are_offered_with_their_toolset_only(atlas: Atlas) -> None:
    offered: dict[str, set[str]] = {}
    for toolset in ("core", "admin", "all"):
        async with Client(create_server(atlas, transport="stdio", toolset=toolset)) as connected:
            offered[toolset] = {tool.name for tool in (await connected.list_tools()).tools}
    admin = {"create_agent", "delete_agent", "create_group", "delete_group"}
    assert offered["admin"] == offered["core"] | admin
    assert offered["admin"] < offered["all"]
    assert not offered["core"] & admin


async def test_the_default_roster_has_three_groups_with_different_managers(client: Client) -> None:
    groups = (await call(client, "list_agents"))["groups"]
    assert {g["name"]: g["manager"] for g in groups} == {
        "sounding_board": "round_robin",
        "round_table": "dynamic",
        "companion": "sleeptime",
    }
    assert [g["name"] for g in (await call(client, "list_agents", team="writing"))["groups"]] == [
        "sounding_board",
        "round_table",
    ]


async def test_an_added_agent_talks_remembers_and_joins_groups_like_any_other(
    client: Client, scripted_model: ScriptedModel
) -> None:
    made = await call(client, "create_agent", **EDITOR)
    assert (made["name"], made["role"], made["team"]) == ("night_editor", "worker", None)
    assert "night_editor" in [a["name"] for a in (await call(client, "list_agents"))["agents"]]
    speaks(
        scripted_model, "night_editor", {"tool": "memory_insert", "args": {"label": "human", "new_string": "sleeps"}}
    )
    scripted_model.reset()
    note = {"tool": "memory_insert", "args": {"label": "human", "new_string": "reads late"}}
    scripted_model.on(lambda r: agent_of(r) == "night_editor", [note, "Good evening."])
    reply = await call(client, "chat_with_agent", agent="night_editor", message="I read late.")
    assert reply["reply"] == "Good evening."
    [block] = (await call(client, "get_agent_memory", agent="night_editor", label="human"))["blocks"]
    assert "reads late" in block["value"]
    assert "I read at night" in scripted_model.last["messages"][0]["content"]
    await call(client, "create_group", name="late", description="At night.", agents=["night_editor", "librarian"])
    both = await call(client, "chat_with_group", group="late", message="Anything left?")
    assert who(both) == ["night_editor", "librarian"]


async def test_what_was_added_outlives_the_server_and_is_seen_by_others_on_the_same_home(
    atlas: Atlas, client: Client
) -> None:
    await call(client, "create_agent", **EDITOR)
    async with open_atlas(load_settings()) as other, Client(create_server(other, transport="stdio")) as second:
        assert "night_editor" in [a["name"] for a in (await call(second, "list_agents"))["agents"]]
        stranger = other.access.key_caller()
        assert "night_editor" not in [a.name for a in await other.list_agents(stranger)]


async def test_a_group_has_notes_that_its_agents_share_and_nobody_else(client: Client) -> None:
    await call(client, "create_group", name="duo", description="Two of us.", agents=["librarian", "strategist"])
    await call(client, "update_agent_memory", agent="librarian", label="duo_notes", value="The boat is late.")
    [block] = (await call(client, "get_agent_memory", agent="strategist", label="duo_notes"))["blocks"]
    assert (block["value"], block["shared_with"]) == ("The boat is late.", ["librarian"])
    assert "there is no block of content_writer 'duo_notes'" in await refused(
        client, "get_agent_memory", agent="content_writer", label="duo_notes"
    )


async def test_groups_overlap_and_deleting_one_leaves_its_agents_and_their_other_notes(client: Client) -> None:
    for name in ("duo", "trio"):
        await call(client, "create_group", name=name, description="Some.", agents=["librarian", "strategist"])
    for label in ("duo_notes", "trio_notes"):
        await call(client, "update_agent_memory", agent="librarian", label=label, value=f"about {label}")
    gone = await call(client, "delete_group", group="duo")
    assert gone["deleted"] == "the group duo, its notes and its conversations; its agents stay"
    labels = [b["label"] for b in (await call(client, "get_agent_memory", agent="librarian"))["blocks"]]
    assert "trio_notes" in labels
    assert "duo_notes" not in labels
    reply = await call(client, "chat_with_agent", agent="librarian", message="Still here?")
    assert reply["status"] == "completed"
    await call(client, "create_group", name="duo", description="Anew.", agents=["librarian", "strategist"])
    [block] = (await call(client, "get_agent_memory", agent="strategist", label="duo_notes"))["blocks"]
    assert block["value"] == ""


async def test_a_deleted_agent_is_gone_and_one_of_its_name_begins_anew(client: Client) -> None:
    await call(client, "create_agent", **EDITOR)
    await call(client, "update_agent_memory", agent="night_editor", label="human", value="likes tea")
    await call(client, "delete_agent", agent="night_editor")
    assert "there is no agent 'night_editor'" in await refused(client, "get_agent_memory", agent="night_editor")
    await call(client, "create_agent", **EDITOR)
    [block] = (await call(client, "get_agent_memory", agent="night_editor", label="human"))["blocks"]
    assert (block["value"], block["revision"]) == ("", 1)


async def test_an_unknown_group_is_told_with_the_closest_and_all_there_are(client: Client) -> None:
    text = await refused(client, "chat_with_group", group="sounding_bord", message="Hello?")
    assert text.startswith("group: there is no group 'sounding_bord'. Did you mean 'sounding_board'?")
    assert "round_table, companion" in text


async def test_a_group_with_an_unknown_agent_is_refused_and_nothing_is_kept(client: Client) -> None:
    text = await refused(client, "create_group", name="duo", description="Two.", agents=["librarian", "strategst"])
    assert text.startswith("agents: there is no agent 'strategst'. Did you mean 'strategist'?")
    manager = {"type": "supervisor", "agent": "nobody"}
    text = await refused(client, "create_group", name="duo", description="2", agents=["librarian"], manager=manager)
    assert text.startswith("manager.agent: there is no agent 'nobody'.")
    assert "duo" not in [g["name"] for g in (await call(client, "list_agents"))["groups"]]


async def test_what_cannot_be_a_group_is_refused_with_the_reason(client: Client) -> None:
    async def why(**given: object) -> str:
        base = {"name": "duo", "description": "Two.", "agents": ["librarian", "strategist"]}
        return await refused(client, "create_group", **{**base, **given})

    assert "group 'companion' is there already" in await why(name="companion")
    assert "'Duo 1' does not fit. Use small letters" in await why(name="Duo 1")
    assert "named twice" in await why(agents=["librarian", "librarian"])
    assert "is not one of its agents at once" in await why(manager={"type": "dynamic", "agent": "librarian"})
    assert "second block 'team_notes'" in await why(name="team")
    assert "less than or equal to 24" in await why(manager={"type": "round_robin", "max_turns": 100})
    assert "at least 1 item" in await why(agents=[])


async def test_what_is_taken_in_use_or_the_rosters_own_is_not_created_or_deleted(
    client: Client, scripted_model: ScriptedModel
) -> None:
    text = await refused(client, "create_agent", **{**EDITOR, "name": "librarian"})
    assert "agent 'librarian' is there already" in text
    assert "Choose another name" in text
    assert "belongs to the roster" in await refused(client, "delete_agent", agent="librarian")
    assert "belongs to the roster" in await refused(client, "delete_group", group="companion")
    await call(client, "create_agent", **EDITOR)
    await call(client, "create_group", name="late", description="At night.", agents=["night_editor"])
    text = await refused(client, "delete_agent", agent="night_editor")
    assert "'night_editor' belongs to: late." in text
    assert "delete_group" in text
    scripted_model.hold()
    with anyio.fail_after(60):
        handle = await call(client, "chat_with_group", group="late", message="@@say still here", wait_seconds=0)
        await anyio.to_thread.run_sync(scripted_model.wait_for_calls, 1)
        assert "is talking just now" in await refused(client, "delete_group", group="late")
        scripted_model.release()
        while (await call(client, "get_run", run_id=handle["run_id"], wait_seconds=5))["status"] != "completed":
            pass
        await call(client, "delete_group", group="late")
    await call(client, "delete_agent", agent="night_editor")


async def test_messages_and_conversations_that_cannot_be_are_refused(client: Client) -> None:
    assert "the message is empty" in await refused(client, "chat_with_group", group="companion", message="  ")
    assert "100,001 characters is too long" in await refused(
        client, "chat_with_group", group="companion", message="x" * 100_001
    )
    text = await refused(client, "chat_with_group", group="companion", message="Hi", conversation="none-such")
    assert "there is no conversation 'none-such' with companion" in text
    assert "2,001 characters is too long" in await refused(client, "create_agent", **{**EDITOR, "persona": "x" * 2_001})
    assert "there is no tool pool 'magic'" in await refused(client, "create_agent", **EDITOR, pools=["magic"])


@pytest.mark.parametrize(
    ("lines", "line", "problem"),
    [
        (
            'agents = ["strategist", "librarien"]',
            6,
            "'librarien' of group 'trio' is no agent (did you mean 'librarian'?)",
        ),
        (
            'agents = ["strategist"]\nmanager = { type = "dynamic", agent = "strategist" }',
            7,
            "is not one of its agents",
        ),
        ('agents = ["strategist"]\nmanager = { type = "carousel" }', 7, "does not match any of the expected tags"),
        ('agents = ["strategist", "strategist"]', 6, "named twice"),
        ('agents = ["strategist"]\nmanager = { type = "round_robin", max_turns = 99 }', 7, "less than or equal to 24"),
        ("members = 3", 6, "unknown key 'members'"),
    ],
)
def test_a_group_that_cannot_work_in_a_roster_file_is_told_with_its_line(
    tmp_path: Path, lines: str, line: int, problem: str
) -> None:
    file = tmp_path / "roster.toml"
    file.write_text(f'name = "mine"\nextends = "default"\n\n[groups.trio]\ndescription = "Three."\n{lines}\n')
    with pytest.raises(BrokenRoster, match=r"roster\.toml, line") as raised:
        load_roster(file)
    assert (raised.value.line, problem in str(raised.value)) == (line, True), str(raised.value)


def test_groups_of_the_default_roster_follow_what_a_roster_file_renames_and_removes(tmp_path: Path) -> None:
    file = tmp_path / "roster.toml"
    file.write_text(
        'extends = "default"\n[remove]\nagents = ["financial_analyst"]\ngroups = ["companion"]\n'
        '[rename.agents]\nstrategist = "planner"\n[rename.groups]\nsounding_board = "jury"\n'
        '[groups.jury]\nmanager = { type = "round_robin", max_turns = 6 }\n'
    )
    groups = {g.name: g for g in load_roster(file).groups}
    assert set(groups) == {"jury", "round_table"}
    assert groups["jury"].agents == ("planner", "source_verifier", "quality_reviewer")
    assert groups["jury"].manager.model_dump() == {"type": "round_robin", "max_turns": 6}
