"""Being told to stop: nothing begins any more, what was done is kept, and the process is gone in time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from letta_client import APIStatusError, Letta

from tests.letta_process import letta_process
from tests.main_job.hosts import DEADLINE, ended, host, until_event
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import ERAS, MODERN, call, http_server, over_http, over_stdio, until_ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp.client import Client

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes"),
]

END_SECONDS = 30
PATIENT = [sys.executable, "-m", "tests.patient"]
CHAT = {"agent": "librarian", "message": "@@say Well thought."}
TEXT = """The keeper lit the lamp at dusk and trimmed the wick every four hours.

The oil came by boat on Fridays. The log shows that the light failed twice in eleven years."""


@pytest.fixture
def model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """The model behind every process of a test."""
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    return scripted_model


async def over(process: subprocess.Popen[str]) -> None:
    """The process ends in time, as a supervisor expects it of one that was asked to."""
    assert await anyio.to_thread.run_sync(process.wait, END_SECONDS) == 0
    assert process.stderr is not None
    assert "Traceback" not in await anyio.to_thread.run_sync(process.stderr.read)


async def until_draining(client: Client, run_id: str) -> None:
    """Return when the server says of the run that it is being stopped."""
    with anyio.fail_after(DEADLINE):
        while "is being stopped" not in ((await call(client, "get_run", run_id=run_id, wait_seconds=0))["note"] or ""):
            await anyio.lowlevel.checkpoint()


async def test_a_turn_under_way_ends_and_nothing_else_begins(model: ScriptedModel) -> None:
    model.hold()
    heard: list[dict[str, Any]] = []
    with http_server(program=PATIENT) as (address, key, process):
        async with over_http(address, key, "/mcp", MODERN) as client, anyio.create_task_group() as group:

            async def chat() -> None:
                heard.append(await call(client, "chat_with_agent", **CHAT))

            group.start_soon(chat)
            await model.arrived(1, DEADLINE)
            run_id = (await call(client, "list_runs"))["runs"][0]["run_id"]
            process.send_signal(signal.SIGTERM)
            await until_draining(client, run_id)
            late = await call(client, "chat_with_agent", agent="strategist", message="@@say Later.", wait_seconds=0)
            assert late["status"] == "working"
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"{address}/health")).status_code == 503
            model.release()
        await over(process)
    assert (heard[0]["status"], heard[0]["reply"]) == ("completed", "Well thought.")
    assert model.calls == 1
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", MODERN) as client:
            run = await until_ended(client, await call(client, "get_run", run_id=late["run_id"]))
    assert (run["status"], run["reply"]) == ("completed", "Later.")
    assert model.calls == 2


async def test_a_team_task_begins_no_further_turn_and_repeats_none_that_ended(model: ScriptedModel) -> None:
    model.hold()
    with http_server(program=PATIENT) as (address, key, process):
        async with over_http(address, key, "/mcp", MODERN) as client:
            run = await call(client, "run_team_task", goal="How was the light kept?", wait_seconds=0)
            await model.arrived(1, DEADLINE)
            process.send_signal(signal.SIGTERM)
            await until_draining(client, run["run_id"])
            model.release()
        await over(process)
    assert model.calls == 1, "the first turn ended, and no other was begun"
    first = last_user_text(model.requests[0])
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", MODERN) as client:
            run = await until_ended(client, await call(client, "get_run", run_id=run["run_id"]))
    assert model.calls > 1
    assert [last_user_text(request) for request in model.requests].count(first) == 1
    assert any(event["type"] == "run_resumed" for event in run["events"])


@pytest.mark.parametrize("era", list(ERAS))
async def test_who_waits_for_a_turn_that_hangs_gets_its_handle_and_the_next_start_its_reply(
    model: ScriptedModel, era: str
) -> None:
    model.hold()
    heard: list[dict[str, Any]] = []
    with http_server() as (address, key, process):
        async with over_http(address, key, "/mcp", era) as client, anyio.create_task_group() as group:

            async def chat() -> None:
                heard.append(await call(client, "chat_with_agent", **CHAT))

            group.start_soon(chat)
            await model.arrived(1, DEADLINE)
            process.send_signal(signal.SIGTERM)
        await over(process)
    assert heard[0]["status"] == "working"
    assert "is being stopped" in heard[0]["note"]
    model.release()
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", era) as client:
            run = await until_ended(client, await call(client, "get_run", run_id=heard[0]["run_id"]))
    assert (run["status"], run["reply"]) == ("completed", "Well thought."), "the end of a server is no cancellation"
    assert model.calls == 2


@pytest.fixture
def serving(model: ScriptedModel) -> Iterator[subprocess.Popen[str]]:
    """A server over stdio as a host starts it."""
    command = [sys.executable, "-m", "atlas_mcp", "serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        yield process
        process.kill()


def ask(process: subprocess.Popen[str], *messages: dict[str, Any]) -> None:
    """Write the messages to the server."""
    assert process.stdin is not None
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def waiting_chat(process: subprocess.Popen[str], era: str) -> None:
    """Ask for a chat in that era, to which the host does not listen yet."""
    params: dict[str, Any] = {"name": "chat_with_agent", "arguments": CHAT}
    if era == MODERN:
        named = {"protocolVersion": MODERN, "clientInfo": {"name": "raw", "version": "1"}, "clientCapabilities": {}}
        params["_meta"] = {f"io.modelcontextprotocol/{name}": value for name, value in named.items()}
    else:
        hello = {"protocolVersion": era, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        ask(process, {"id": 1, "method": "initialize", "params": hello}, {"method": "notifications/initialized"})
    ask(process, {"id": 7, "method": "tools/call", "params": params})


async def completes_at_the_next_start(era: str) -> None:
    async with over_stdio(era) as client:
        [run] = (await call(client, "list_runs"))["runs"]
        run = await until_ended(client, await call(client, "get_run", run_id=run["run_id"]))
    assert (run["status"], run["reply"]) == ("completed", "Well thought.")


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_host_that_closes_the_pipe_while_a_call_waits_cancels_nothing(
    serving: subprocess.Popen[str], model: ScriptedModel, era: str
) -> None:
    model.hold()
    waiting_chat(serving, era)
    await model.arrived(1, DEADLINE)
    assert serving.stdin is not None
    serving.stdin.close()
    await over(serving)
    model.release()
    await completes_at_the_next_start(era)


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_host_that_is_told_to_stop_hears_of_the_run_and_cancels_nothing(
    serving: subprocess.Popen[str], model: ScriptedModel, era: str
) -> None:
    model.hold()
    waiting_chat(serving, era)
    await model.arrived(1, DEADLINE)
    serving.send_signal(signal.SIGTERM)
    await over(serving)
    assert serving.stdout is not None
    answers = [json.loads(line) for line in await anyio.to_thread.run_sync(serving.stdout.readlines)]
    [reply] = [answer["result"]["structuredContent"] for answer in answers if answer.get("id") == 7]
    assert reply["status"] == "working"
    assert "is being stopped" in reply["note"]
    model.release()
    await completes_at_the_next_start(era)


async def test_it_ends_in_time_also_when_its_letta_answers_nothing_any_more(
    model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with letta_process(tmp_path / "letta") as letta:
        monkeypatch.setenv("LETTA_BASE_URL", letta.address)
        monkeypatch.setenv("LETTA_API_KEY", letta.key)
        model.hold()
        with http_server() as (address, key, process):
            async with over_http(address, key, "/mcp", MODERN) as client:
                handle = await call(client, "chat_with_agent", **CHAT, wait_seconds=0)
                await model.arrived(1, DEADLINE)
                letta.freeze()
                process.send_signal(signal.SIGTERM)
                await anyio.to_thread.run_sync(process.wait, END_SECONDS)
            await over(process)
        letta.thaw()
        model.release()
        with http_server() as (address, key, _):
            async with over_http(address, key, "/mcp", MODERN) as client:
                run = await until_ended(client, await call(client, "get_run", run_id=handle["run_id"]))
    assert (run["status"], run["reply"]) == ("completed", "Well thought.")


async def test_a_team_task_goes_on_in_another_process_and_repeats_no_finished_turn(home: Path) -> None:
    async with host(home, "other") as other:
        await other.call("list_runs")
        async with host(home, "told", ATLAS_OFFLINE_DELAY="1") as told:  # much is left to do, however late it is told
            run = await told.call(
                "run_team_task", goal="How was the light kept?", materials=[{"name": "l", "text": TEXT}], wait_seconds=0
            )
            await until_event(told, run["run_id"], "turn_finished", times=2)
            os.kill(told.pid, signal.SIGTERM)
            done = await ended(other, run["run_id"])
    assert done["status"] == "completed", done["error"]
    finished = Counter(e["turn_id"] for e in done["events"] if e["type"] == "turn_finished")
    assert set(finished.values()) == {1}
    assert done["usage"]["turns"] == len(finished)
    resumed = [e for e in done["events"] if e["type"] == "run_resumed"]
    assert resumed, "it was begun in one process and ended in the other"


@pytest.fixture
def letta(model: ScriptedModel) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The embedded Letta by itself: its address and its process."""
    command = [sys.executable, "-m", "atlas_mcp", "letta", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        yield next(m[0] for line in process.stderr if (m := re.search(r"http://127\.0\.0\.1:\d+", line))), process
        process.kill()


async def test_the_embedded_letta_alone_ends_in_time_while_a_turn_hangs(
    home: Path, letta: tuple[str, subprocess.Popen[str]], model: ScriptedModel
) -> None:
    model.hold()
    address, process = letta
    client = Letta(base_url=address, api_key=(home / "keys" / "letta").read_text().strip(), max_retries=0)

    def send() -> None:
        agent = client.agents.create(name="scout", model="openai/scripted-1")
        with pytest.raises(APIStatusError, match="being stopped") as told:
            client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "Hello?"}])
        assert told.value.status_code == 503

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, send)
        await model.arrived(1, DEADLINE)
        process.send_signal(signal.SIGTERM)
    await over(process)


async def test_a_second_signal_ends_it_at_once(model: ScriptedModel) -> None:
    model.hold()
    with http_server(program=PATIENT) as (address, key, process):
        async with over_http(address, key, "/mcp", MODERN) as client:
            handle = await call(client, "chat_with_agent", **CHAT, wait_seconds=0)
            await model.arrived(1, DEADLINE)
            process.send_signal(signal.SIGTERM)
            await until_draining(client, handle["run_id"])
            process.send_signal(signal.SIGTERM)
            assert await anyio.to_thread.run_sync(process.wait, END_SECONDS) == -signal.SIGTERM
