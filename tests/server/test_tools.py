"""Every tool does its work, in both protocol eras, with the offline model."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.server.progress import HEARTBEAT_SECONDS
from atlas_mcp.settings import load_settings
from tests.server.doors import call, refused, text_of, until_ended

pytestmark = pytest.mark.anyio


def connected(atlas: Atlas) -> Client:
    return Client(create_server(atlas, transport="stdio"))


TEXT = (
    "The harbour of Ostrava opened in 1901. It handled 40,000 tons in its first year. "
    "Grain made up most of the cargo. The harbour closed in 1955 because the river silted up."
)


async def test_agents_are_listed_by_team(client_of_each_era: Client) -> None:
    agents = (await call(client_of_each_era, "list_agents"))["agents"]
    names = {agent["name"] for agent in agents}
    assert {"global_supervisor", "librarian", "document_researcher", "quality_rater"} <= names
    assert {"name", "team", "role", "description", "model", "busy", "blocks"} <= agents[0].keys()
    research = (await call(client_of_each_era, "list_agents", team="research"))["agents"]
    assert {agent["team"] for agent in research} == {"research"}


async def test_a_chat_is_answered_and_changes_memory(client_of_each_era: Client) -> None:
    reply = await call(client_of_each_era, "chat_with_agent", agent="librarian", message="Please remember: I am Ada.")
    assert reply["status"] == "completed"
    assert reply["agent"] == "librarian"
    assert reply["memory_changes"][0]["label"] == "human"
    assert "offline model" in reply["note"]
    blocks = (await call(client_of_each_era, "get_agent_memory", agent="librarian", label="human"))["blocks"]
    assert "Ada" in blocks[0]["value"]
    assert blocks[0]["author"] == "agent:librarian"


async def test_text_and_structured_content_carry_the_same_facts(client: Client) -> None:
    for tool, arguments in (
        ("list_agents", {}),
        ("get_status", {}),
        ("list_runs", {}),
        ("get_agent_memory", {"agent": "librarian"}),
        ("chat_with_agent", {"agent": "librarian", "message": "Hello."}),
    ):
        result = await client.call_tool(tool, arguments)
        assert json.loads(text_of(result)) == result.structured_content, tool


async def test_a_clients_thread_goes_on_and_a_new_one_opens(client: Client) -> None:
    first = await call(client, "chat_with_agent", agent="librarian", message="Hello.")
    again = await call(client, "chat_with_agent", agent="librarian", message="Hello again.")
    other = await call(client, "chat_with_agent", agent="librarian", message="Hello.", conversation="new")
    assert again["conversation"] == first["conversation"] != other["conversation"]


async def test_memory_is_changed_in_three_ways(client: Client) -> None:
    target = {"agent": "librarian", "label": "human"}
    assert (await call(client, "update_agent_memory", **target, value="Ada."))["value"] == "Ada."
    assert "Likes tea." in (await call(client, "update_agent_memory", **target, append="Likes tea."))["value"]
    block = await call(client, "update_agent_memory", **target, replace={"old": "tea", "new": "coffee"})
    assert "coffee" in block["value"]
    assert block["author"] == "caller"
    assert (await call(client, "get_agent_memory", **target))["blocks"] == [block]


async def test_a_shared_block_changes_for_all(client: Client) -> None:
    await call(client, "update_agent_memory", agent="librarian", label="team_notes", value="We meet on Mondays.")
    blocks = (await call(client, "get_agent_memory", agent="strategist", label="team_notes"))["blocks"]
    assert blocks[0]["value"] == "We meet on Mondays."
    assert "librarian" in blocks[0]["shared_with"]


async def test_a_team_task_gives_a_handle_and_get_run_finds_its_result(client_of_each_era: Client) -> None:
    run = await call(
        client_of_each_era,
        "run_team_task",
        goal="When did the harbour open, and why did it close?",
        materials=[{"name": "harbour.txt", "text": TEXT}],
        teams=["research"],
        wait_seconds=0,
    )
    assert run["status"] in {"queued", "working"}
    assert f'get_run(run_id="{run["run_id"]}"' in run["note"]
    ended = await until_ended(client_of_each_era, run)
    assert ended["status"] == "completed", ended["error"]
    result = ended["result"]
    assert "1901" in result["output"]
    assert {e["source"] for e in result["evidence"]} == {"harbour.txt"}
    assert result["ratings"]
    assert [e["seq"] for e in ended["events"]] == list(range(1, len(ended["events"]) + 1))
    assert {"turn_started", "turn_finished"} <= {e["type"] for e in ended["events"]}
    listed = (await call(client_of_each_era, "list_runs"))["runs"]
    assert [r["run_id"] for r in listed] == [run["run_id"]]


async def test_a_waiting_client_hears_of_each_event_in_growing_numbers(client: Client) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message or ""))

    arguments: dict[str, Any] = {"goal": "When did it open?", "materials": [{"name": "h", "text": TEXT}]}
    result = await client.call_tool("run_team_task", arguments, progress_callback=hear)
    assert not result.is_error, text_of(result)
    numbers = [number for number, _ in heard]
    assert numbers == sorted(set(numbers))
    assert len(numbers) > 5
    assert any("global_supervisor" in message for _, message in heard)


async def test_a_waiting_client_gets_signs_of_life_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "2")
    monkeypatch.setattr("atlas_mcp.server.progress.HEARTBEAT_SECONDS", 0.2)
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with open_atlas(load_settings()) as slow, connected(slow) as client:
        arguments = {"agent": "librarian", "message": "Hello."}
        await client.call_tool("chat_with_agent", arguments, progress_callback=hear)
    assert sum("still working" in message for message in heard) > 3


def test_the_signs_of_life_come_more_often_than_every_ten_seconds() -> None:
    assert HEARTBEAT_SECONDS < 10


async def test_a_slow_turn_becomes_a_run_whose_reply_is_found(monkeypatch: pytest.MonkeyPatch, atlas: Atlas) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "1.5")
    async with open_atlas(load_settings()) as slow, connected(slow) as client:
        reply = await call(client, "chat_with_agent", agent="librarian", message="Hello.", wait_seconds=0.2)
        assert reply["status"] == "working"
        assert f'get_run(run_id="{reply["run_id"]}"' in reply["note"]
        run = await until_ended(client, await call(client, "get_run", run_id=reply["run_id"], wait_seconds=5))
        assert run["status"] == "completed"
        assert run["reply"]


async def test_a_run_is_cancelled_and_keeps_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "60")
    async with open_atlas(load_settings()) as slow, connected(slow) as client:
        run = await call(client, "run_team_task", goal="When?", materials=[{"name": "h", "text": TEXT}], wait_seconds=1)
        with anyio.fail_after(50):
            cancelled = await call(client, "cancel_run", run_id=run["run_id"])
        assert cancelled["status"] == "cancelled"
        assert cancelled["events"] or (await call(client, "get_run", run_id=run["run_id"]))["events"]
        listed = (await call(client, "list_runs", status="cancelled"))["runs"]
        assert [r["run_id"] for r in listed] == [run["run_id"]]


async def test_the_status_says_that_the_offline_model_answers(client_of_each_era: Client) -> None:
    status = await call(client_of_each_era, "get_status")
    assert status["ok"]
    assert status["offline"]
    assert any("ATLAS_MODEL" in note for note in status["notes"])
    assert {"models", "record", "letta", "tools", "sandbox", "tracing"} <= {room["name"] for room in status["rooms"]}


@pytest.mark.parametrize(
    "address", ["http://bob:hunter22@127.0.0.1:9/mlflow", "postgresql://bob:hunter22@db/mlflow?password=hunter22"]
)
async def test_the_status_shows_where_traces_go_without_the_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    settings = load_settings()
    assert "hunter22" not in repr(settings)
    async with open_atlas(settings) as atlas, connected(atlas) as client:
        status = await call(client, "get_status")
    assert address.partition("@")[2].partition("?")[0] in json.dumps(status)
    assert "hunter22" not in json.dumps(status)
    assert "bob" not in json.dumps(status)


async def test_an_unexpected_error_tells_nothing_of_the_inside(
    monkeypatch: pytest.MonkeyPatch, client: Client, atlas: Atlas, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("/secret/place")

    monkeypatch.setattr(atlas, "chat", broken)
    text = await refused(client, "chat_with_agent", agent="librarian", message="Hello.")
    assert "unexpected error in chat_with_agent" in text
    assert "secret" not in text
    assert "Traceback" not in text
    reference = text.split("reference ")[1].split(";")[0]
    assert reference in caplog.text
    assert "/secret/place" in caplog.text
