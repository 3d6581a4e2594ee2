"""What a run asks, a task asks: answered by `tasks/update`, once, with what fits."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import MCPError
from mcp.client import Client

from atlas_mcp.atlas import Atlas
from atlas_mcp.server import create_server
from tests.server.doors import call
from tests.tasks import client as tasks

pytestmark = pytest.mark.anyio

TASK: dict[str, Any] = {
    "goal": "Where is tea grown?",
    "materials": [{"name": "tea.txt", "text": "Tea is grown in Assam."}],
    "approve_plan": True,
}
INVALID = -32602


async def asked(client: Client) -> tuple[tasks.Task, str, dict[str, Any]]:
    """A task that waits for an answer, the question's id, and the request to the client."""
    task = await tasks.begun(client, "run_team_task", **TASK)
    stood = await tasks.until(client.session, task.task_id, "input_required", *tasks.ENDED)
    assert stood.input_requests, stood
    [(key, request)] = stood.input_requests.items()
    return task, key, request


def accepted(answer: Any) -> dict[str, Any]:
    return {"action": "accept", "content": {"answer": answer}}


async def test_a_task_asks_by_a_form_and_goes_on_with_the_answer(client: Client) -> None:
    task, key, request = await asked(client)
    assert request["method"] == "elicitation/create"
    run = await call(client, "get_run", run_id=task.task_id, wait_seconds=0)
    assert run["status"] == "awaiting_answer"
    assert run["question"]["id"] == key
    assert run["question"]["text"] in request["params"]["message"]
    yes = next(option for option in run["question"]["options"] if option != run["question"]["safe"])
    await tasks.answer(client.session, task.task_id, of_another_question=accepted("x"))
    await tasks.answer(client.session, task.task_id, **{key: accepted(yes)})
    assert (await tasks.until_ended(client.session, task.task_id)).status == "completed"
    await tasks.answer(client.session, task.task_id, **{key: accepted(yes)})  # too late, and changes nothing


async def test_an_answer_that_does_not_fit_is_refused_with_what_would(client: Client) -> None:
    task, key, _ = await asked(client)
    question = (await call(client, "get_run", run_id=task.task_id, wait_seconds=0))["question"]
    for unfit in (accepted(""), {"action": "perhaps"}, 12):
        with pytest.raises(MCPError) as refused:
            await tasks.answer(client.session, task.task_id, **{key: unfit})
        assert refused.value.code == INVALID
    assert (await tasks.stand(client.session, task.task_id)).status == "input_required"
    with pytest.raises(MCPError, match=question["options"][0]):
        await tasks.answer(client.session, task.task_id, **{key: accepted("")})


async def test_who_declines_takes_the_safe_choice_and_who_puts_it_aside_leaves_it_open(client: Client) -> None:
    task, key, _ = await asked(client)
    await tasks.answer(client.session, task.task_id, **{key: {"action": "cancel"}})
    assert (await tasks.stand(client.session, task.task_id)).status == "input_required"
    await tasks.answer(client.session, task.task_id, **{key: {"action": "decline"}})
    ended = await tasks.until_ended(client.session, task.task_id)
    run = await call(client, "get_run", run_id=task.task_id)
    assert run["result"] is None, ended  # nothing was carried out


async def test_a_client_that_cannot_ask_is_told_which_tool_answers(atlas: Atlas) -> None:
    async with Client(create_server(atlas, transport="stdio"), extensions=[tasks.TakesTasks()]) as client:
        task = await tasks.begun(client, "run_team_task", **TASK)
        run = await call(client, "get_run", run_id=task.task_id, wait_seconds=40)
        while run["status"] != "awaiting_answer":
            since = run["events"][-1]["seq"] if run["events"] else 0
            run = await call(client, "get_run", run_id=task.task_id, since=since, wait_seconds=40)
            assert run["status"] not in tasks.ENDED
        stood = await tasks.stand(client.session, task.task_id)
        assert stood.status == "working"
        assert stood.input_requests is None
        assert f'answer_run(run_id="{task.task_id}"' in (stood.status_message or "")
