"""What cannot be used is refused in words a model can act on, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.doors import call, refused

if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.anyio


async def test_an_unknown_agent_is_told_the_closest_and_all(client: Client) -> None:
    text = await refused(client, "chat_with_agent", agent="libarian", message="Hello.")
    assert "agent:" in text
    assert "'librarian'?" in text
    assert "global_supervisor" in text
    assert "document_researcher" in await refused(client, "get_agent_memory", agent="document_reader")


async def test_an_unknown_team_is_told_all(client: Client) -> None:
    for tool, arguments in (
        ("list_agents", {"team": "reserch"}),
        ("run_team_task", {"goal": "x", "teams": ["reserch"]}),
    ):
        text = await refused(client, tool, **arguments)
        assert "'research'?" in text, tool
        assert "writing" in text, tool


async def test_an_empty_message_is_refused(client: Client) -> None:
    assert "message:" in await refused(client, "chat_with_agent", agent="librarian", message="  \n")
    assert "goal:" in await refused(client, "run_team_task", goal="   ")


async def test_a_message_that_is_too_long_is_told_both_lengths(client: Client) -> None:
    text = await refused(client, "chat_with_agent", agent="librarian", message="x" * 100_001)
    assert "message: 100,001 characters" in text
    assert "100,000" in text


async def test_a_goal_that_is_too_long_is_told_before_anything_is_stored(client: Client) -> None:
    text = await refused(client, "run_team_task", goal="x" * 20_001)
    assert "goal: 20,001 characters" in text
    assert "materials" in text
    assert (await call(client, "list_runs"))["runs"] == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"criteria": ["clear", " "]}, "criteria.1"),
        ({"criteria": ["x" * 301]}, "criteria.0"),
        ({"criteria": [f"c{n}" for n in range(13)]}, "criteria"),
        ({"project": "x" * 201}, "project"),
        ({"teams": ["rating"]}, "teams"),
        ({"teams": ["research", "writing"]}, "teams"),
    ],
)
async def test_what_a_task_cannot_be_judged_or_done_by_is_refused(
    client: Client, arguments: dict[str, object], named: str
) -> None:
    assert f"{named}:" in await refused(client, "run_team_task", goal="x", **arguments)


async def test_an_unknown_argument_is_named_with_those_there_are(client: Client) -> None:
    text = await refused(client, "chat_with_agent", agent="librarian", mesage="Hello.")
    assert "mesage: there is no such argument. Did you mean 'message'?" in text
    assert "message: this argument is missing" in text
    assert "chat_with_agent takes: agent, message, conversation, wait_seconds" in text
    assert "budget: there is no such argument" in await refused(client, "run_team_task", goal="x", budget=1)


async def test_a_missing_argument_is_named(client: Client) -> None:
    assert "run_id: this argument is missing" in await refused(client, "get_run")


async def test_an_argument_of_the_wrong_kind_is_named_with_what_was_given(client: Client) -> None:
    assert "wait_seconds:" in await refused(client, "get_run", run_id="run_x", wait_seconds="soon")
    assert "max_rounds:" in await refused(client, "run_team_task", goal="x", max_rounds=-1)
    assert "status:" in await refused(client, "list_runs", status="sleeping")


async def test_waiting_is_bounded_and_says_by_how_much(client: Client) -> None:
    for tool, arguments in (
        ("chat_with_agent", {"agent": "librarian", "message": "Hello."}),
        ("run_team_task", {"goal": "x"}),
        ("get_run", {"run_id": "run_x"}),
    ):
        text = await refused(client, tool, **arguments, wait_seconds=46)
        assert "wait_seconds:" in text
        assert "45" in text


async def test_a_label_that_does_not_exist_is_told_those_there_are(client: Client) -> None:
    for tool, change in (("get_agent_memory", {}), ("update_agent_memory", {"value": "x"})):
        text = await refused(client, tool, agent="librarian", label="humans", **change)
        assert "label:" in text
        assert "'human'?" in text


async def test_a_value_over_the_limit_is_told_both_lengths_and_nothing_changes(client: Client) -> None:
    target = {"agent": "librarian", "label": "current_state"}
    before = await call(client, "get_agent_memory", **target)
    text = await refused(client, "update_agent_memory", **target, value="x" * 201)
    assert "value: 201 characters" in text
    assert "200" in text
    assert await call(client, "get_agent_memory", **target) == before


async def test_a_stale_revision_is_refused_and_nothing_changes(client: Client) -> None:
    target = {"agent": "librarian", "label": "human"}
    block = await call(client, "update_agent_memory", **target, value="Ada.")
    await call(client, "update_agent_memory", **target, value="Grace.", expected_revision=block["revision"])
    text = await refused(client, "update_agent_memory", **target, value="Mary.", expected_revision=block["revision"])
    assert "expected_revision:" in text
    assert "get_agent_memory" in text
    assert (await call(client, "get_agent_memory", **target))["blocks"][0]["value"] == "Grace."


@pytest.mark.parametrize("change", [{}, {"value": "a", "append": "b"}])
async def test_a_change_is_exactly_one(client: Client, change: dict[str, str]) -> None:
    text = await refused(client, "update_agent_memory", agent="librarian", label="human", **change)
    assert "value, append, replace: exactly one" in text


async def test_a_passage_that_does_not_occur_once_is_refused(client: Client) -> None:
    target = {"agent": "librarian", "label": "human"}
    await call(client, "update_agent_memory", **target, value="tea and tea")
    for old in ("coffee", "tea", ""):
        assert "replace" in await refused(client, "update_agent_memory", **target, replace={"old": old, "new": "x"})


async def test_an_unknown_run_is_told_where_runs_are_listed(client: Client) -> None:
    for tool in ("get_run", "cancel_run"):
        text = await refused(client, tool, run_id="run_nothing")
        assert "run_id:" in text
        assert "list_runs" in text


async def test_an_unknown_conversation_is_told_what_may_be_said(client: Client) -> None:
    text = await refused(client, "chat_with_agent", agent="librarian", message="Hello.", conversation="conv-nothing")
    assert "conversation:" in text
    assert "'new'" in text


async def test_a_cursor_that_is_not_one_is_refused(client: Client) -> None:
    assert "cursor:" in await refused(client, "list_runs", cursor="nonsense")


async def test_an_unknown_tool_is_refused(client: Client) -> None:
    assert "send_message" in await refused(client, "send_message", agent="librarian")
