"""What runs ask, at the MCP door: shown and answered by tools, asked of the person behind the client."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

from atlas_mcp.atlas import Atlas
from atlas_mcp.server import create_server
from tests.main_job.hosts import ended as host_ended
from tests.main_job.hosts import host, until_event
from tests.server.doors import ERAS, call, http_server, refused, until_ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

TEXT = (
    "The harbour of Ostrava opened in 1901. It handled 40,000 tons in its first year. "
    "Grain made up most of the cargo. The harbour closed in 1955 because the river silted up."
)
TASK: dict[str, Any] = {
    "goal": "When did the harbour open, and why did it close?",
    "materials": [{"name": "harbour.txt", "text": TEXT}],
    "approve_plan": True,
}
AT_ONCE = 44
"""Seconds: less than the 45 for which a call waits while its run goes on and asks nothing."""


class Person:
    """Answers what the client is asked, and notes it."""

    def __init__(self, *answers: str | ElicitResult) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.thinks: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        if self.thinks:
            await self.thinks()
        answer = self.answers.pop(0)
        return answer if isinstance(answer, ElicitResult) else accept(answer)


def accept(answer: str) -> ElicitResult:
    return ElicitResult(action="accept", content={"answer": answer})


@pytest.fixture(params=list(ERAS))
def era(request: pytest.FixtureRequest) -> str:
    return ERAS[request.param]


def with_person(atlas: Atlas, era: str, person: Person) -> Client:
    return Client(create_server(atlas, transport="stdio"), mode=era, elicitation_callback=person)


async def asking_run(client: Client, **changes: Any) -> dict[str, Any]:
    """A run that waits for its plan's approval."""
    run = await call(client, "run_team_task", **TASK, **changes)
    with anyio.fail_after(60):
        while run["status"] != "awaiting_answer":
            assert run["status"] in ("queued", "working"), run["error"]
            run = await call(client, "get_run", run_id=run["run_id"], wait_seconds=1, since=10_000)
    return run


async def test_a_client_that_cannot_be_asked_gets_the_question_and_answers_by_a_tool(
    client_of_each_era: Client,
) -> None:
    with anyio.fail_after(AT_ONCE):
        run = await call(client_of_each_era, "run_team_task", **TASK)
    assert run["status"] == "awaiting_answer"
    assert run["question"]["kind"] == "approval"
    assert run["question"]["options"] == ["approve", "reject"]
    assert "by the research team" in run["question"]["text"]
    assert f'call answer_run(run_id="{run["run_id"]}", answer="...")' in run["note"]
    assert run["usage"]["turns"] == 1
    [listed] = (await call(client_of_each_era, "list_runs", status="awaiting_answer"))["runs"]
    assert listed["question"] == run["question"]
    going_on = await call(client_of_each_era, "answer_run", run_id=run["run_id"], answer="approve")
    assert going_on["status"] in ("working", "completed")
    done = await until_ended(client_of_each_era, run)
    assert done["status"] == "completed", done["error"]
    again = await call(client_of_each_era, "answer_run", run_id=run["run_id"], answer="reject")
    assert again["status"] == "completed"
    assert "nothing was changed" in again["note"]


async def test_what_cannot_be_answered_is_refused_in_words(client: Client) -> None:
    run = await asking_run(client)
    refusal = await refused(client, "answer_run", run_id=run["run_id"], answer="aprove")
    assert "answer: 'aprove' does not fit" in refusal
    assert (
        "Did you mean 'approve'? What fits: 'approve' or 'reject' or, in words of your own, what to change" in refusal
    )
    assert "there is no run 'run_none'" in await refused(client, "answer_run", run_id="run_none", answer="approve")
    quiet = await call(client, "run_team_task", **{**TASK, "approve_plan": False}, wait_seconds=0)
    assert "this run asks nothing" in await refused(client, "answer_run", run_id=quiet["run_id"], answer="approve")
    await call(client, "cancel_run", run_id=quiet["run_id"])
    assert (await call(client, "get_run", run_id=run["run_id"]))["status"] == "awaiting_answer"


async def test_the_run_of_another_caller_is_not_found(atlas: Atlas, client: Client) -> None:
    run = await asking_run(client)
    async with Client(create_server(atlas, transport="http")) as other:  # the key's holder is somebody else
        hidden = await refused(other, "answer_run", run_id=run["run_id"], answer="approve")
        absent = await refused(other, "answer_run", run_id="run_none", answer="approve")
    assert hidden == absent.replace("run_none", run["run_id"])
    assert (await call(client, "get_run", run_id=run["run_id"]))["status"] == "awaiting_answer"


async def test_the_person_behind_the_client_approves_while_the_call_waits(atlas: Atlas, era: str) -> None:
    person = Person("approve")
    async with with_person(atlas, era, person) as client:
        run = await until_ended(client, await call(client, "run_team_task", **TASK))
    assert run["status"] == "completed", run["error"]
    [asked] = person.asked
    assert "by the research team" in asked.message
    assert "enum" not in asked.requested_schema["properties"]["answer"], "words fit, too"
    assert "'approve' or 'reject'" in asked.requested_schema["properties"]["answer"]["description"]
    assert [e["type"] for e in run["events"]].count("question_answered") == 1


async def test_who_asks_for_a_change_is_asked_again(atlas: Atlas, era: str) -> None:
    person = Person("take less time for it", "reject")
    async with with_person(atlas, era, person) as client:
        run = await until_ended(client, await call(client, "run_team_task", **TASK))
    assert (run["status"], run["usage"]["turns"]) == ("failed", 2)
    assert "the caller rejected it" in run["error"]
    assert ["made anew" in asked.message for asked in person.asked] == [False, True]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_who_declines_leaves_the_run_waiting_and_is_not_asked_again(atlas: Atlas, era: str, action: Any) -> None:
    person = Person(ElicitResult(action=action))
    async with with_person(atlas, era, person) as client:
        with anyio.fail_after(AT_ONCE):
            run = await call(client, "run_team_task", **TASK)
        assert run["status"] == "awaiting_answer"
        assert run["question"]["options"] == ["approve", "reject"]
        assert (await call(client, "get_run", run_id=run["run_id"], wait_seconds=1))["status"] == "awaiting_answer"
        assert len(person.asked) == 1
        await call(client, "answer_run", run_id=run["run_id"], answer="reject")
        assert (await until_ended(client, run))["status"] == "failed"


async def test_an_unfit_answer_of_the_person_leaves_the_run_waiting(atlas: Atlas, era: str) -> None:
    person = Person("perhaps")
    async with with_person(atlas, era, person) as client:
        run = await call(client, "run_team_task", **TASK)
    assert run["status"] == "awaiting_answer"
    assert run["question"]["options"] == ["approve", "reject"]


async def test_the_person_who_lets_the_time_pass_leaves_the_run_waiting(atlas: Atlas) -> None:
    async with Client(create_server(atlas, transport="stdio")) as silent:
        run = await asking_run(silent)
    person = Person("reject", "reject")
    person.thinks = anyio.sleep_forever
    async with with_person(atlas, "legacy", person) as client:
        run = await call(client, "get_run", run_id=run["run_id"], wait_seconds=8)
        assert run["status"] == "awaiting_answer"
        assert run["question"]["options"] == ["approve", "reject"]
        assert len(person.asked) == 1
        person.thinks = None
        run = await until_ended(client, run)  # by get_run, which asks again
    assert run["status"] == "failed"
    assert len(person.asked) == 2


async def test_get_run_asks_the_person_too(atlas: Atlas, era: str) -> None:
    async with Client(create_server(atlas, transport="stdio")) as silent:
        run = await asking_run(silent)
    person = Person("reject")
    async with with_person(atlas, era, person) as client:
        looked = await call(client, "get_run", run_id=run["run_id"], wait_seconds=0)
        assert (looked["status"], person.asked) == ("awaiting_answer", []), "a look is no question"
        await call(client, "get_run", run_id=run["run_id"], wait_seconds=20)
        assert len(person.asked) == 1
        assert (await until_ended(client, run))["status"] == "failed"


async def test_a_choice_is_shown_as_one(atlas: Atlas, era: str) -> None:
    person = Person("a change please", "another change", "one more change", "reject")
    async with with_person(atlas, era, person) as client:
        await until_ended(client, await call(client, "run_team_task", **TASK))
    assert person.asked[-1].requested_schema["properties"]["answer"]["enum"] == ["approve", "reject"]


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_the_person_is_asked_over_http(path: str) -> None:
    person = Person("reject")
    with http_server() as (address, key, _):
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            door = (
                sse_client(f"{address}/sse", headers=headers)
                if path == "/sse"
                else streamable_http_client(f"{address}/mcp", http_client=http)
            )
            async with Client(door, elicitation_callback=person) as client:
                run = await until_ended(client, await call(client, "run_team_task", **TASK))
    assert run["status"] == "failed"
    assert len(person.asked) == 1


async def test_a_server_that_is_killed_while_its_run_waits_loses_neither_question_nor_answer(home: Path) -> None:
    async with host(home, "first") as server:
        run = await server.call("run_team_task", **TASK)
        assert run["status"] == "awaiting_answer"
        server.kill()
    async with host(home, "second") as server:
        shown = await server.call("get_run", run_id=run["run_id"])
        assert shown["question"] == run["question"]
        await server.call("answer_run", run_id=run["run_id"], answer="approve")
        await until_event(server, run["run_id"], "turn_finished", times=3)
        server.kill()
    async with host(home, "third") as server:
        done = await host_ended(server, run["run_id"])
    assert done["status"] == "completed", done["error"]
    finished = [e["turn_id"] for e in done["events"] if e["type"] == "turn_finished"]
    assert len(finished) == len(set(finished))
    assert [e["type"] for e in done["events"]].count("question_answered") == 1
