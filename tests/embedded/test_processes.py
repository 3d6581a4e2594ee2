"""The embedded Letta as a server of its own: over a real socket, killed in mid turn, and two of them on one file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from letta_client import APIConnectionError, APIStatusError, AuthenticationError, Letta

from tests.scripted import scripted_model  # noqa: F401  # a fixture
from tests.scripted_model import ScriptedModel

KEY = "the-key"
Start = Callable[[], tuple["subprocess.Popen[str]", Any]]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def start(tmp_path: Path, scripted_model: ScriptedModel) -> Iterator[Start]:  # noqa: F811
    """Starts a server on the test's one database file and gives it with a plain letta-client for it."""
    processes: list[subprocess.Popen[str]] = []

    def run() -> tuple[subprocess.Popen[str], Any]:
        arguments = [str(tmp_path / "letta.db"), scripted_model.url, str(tmp_path / "locks"), KEY]
        command = [sys.executable, "-m", "tests.embedded.server", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout
        url = process.stdout.readline().strip()
        return process, Letta(base_url=url, api_key=KEY, max_retries=0, timeout=120)

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def send(letta: Any, conversation: str, text: str, otid: str) -> list[Any]:
    message: Any = {"role": "user", "content": text, "otid": otid}
    with letta.conversations.messages.create(conversation, messages=[message], stream_tokens=True) as stream:
        return list(stream)


def thread(letta: Any, conversation: str) -> list[str]:
    return [getattr(m, "content", "") for m in letta.conversations.messages.list(conversation, order="asc")]


def test_a_plain_client_program_works_over_a_socket(start: Start, scripted_model: ScriptedModel) -> None:  # noqa: F811
    _, letta = start()
    agent = letta.agents.create(name="ada", memory_blocks=[{"label": "human", "value": "?"}], tags=["t"])
    assert [a.id for a in letta.agents.list(tags=["t"])] == [agent.id]
    tool: Any = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
    scripted_model.script([{"tool": "look", "args": {}}, "I looked"])
    user: Any = {"role": "user", "content": "look around"}
    reply = letta.agents.messages.create(agent.id, messages=[user], client_tools=[tool])
    request: Any = reply.messages[-1]
    assert reply.stop_reason.stop_reason == "requires_approval"
    part = {
        "type": "tool",
        "tool_call_id": request.tool_call.tool_call_id,
        "tool_return": "a tree",
        "status": "success",
    }
    back: Any = {"type": "tool_return", "tool_returns": [part]}
    reply = letta.agents.messages.create(agent.id, messages=[back], client_tools=[tool])
    assert getattr(reply.messages[-1], "content", "") == "I looked"
    letta.agents.passages.create(agent.id, text="a tree stands there")
    assert letta.agents.passages.search(agent.id, query="tree").count == 1
    with pytest.raises(AuthenticationError):
        letta.with_options(api_key="wrong").agents.retrieve(agent.id)


def test_tokens_come_one_by_one_and_a_cut_connection_frees_the_thread(
    start: Start,
    scripted_model: ScriptedModel,  # noqa: F811
) -> None:
    _, letta = start()
    conversation = letta.conversations.create(agent_id=letta.agents.create(name="a").id).id
    scripted_model.script([{"text": "one two three", "hold_after": 2}, "after the cut"])
    message: Any = {"role": "user", "content": "count"}
    with letta.conversations.messages.create(conversation, messages=[message], stream_tokens=True) as stream:
        for event in stream:
            if event.message_type == "assistant_message":
                break  # the model holds the rest back, so this piece came while it was speaking
    events = send(letta, conversation, "again", "o")
    assert "".join(e.content for e in events if e.message_type == "assistant_message") == "after the cut"
    assert thread(letta, conversation) == ["again", "after the cut"]


def test_killed_in_mid_turn_it_leaves_nothing_and_the_same_otid_is_then_one_turn(
    start: Start,
    scripted_model: ScriptedModel,  # noqa: F811
) -> None:
    process, letta = start()
    agent = letta.agents.create(name="a", memory_blocks=[{"label": "human", "value": "?"}])
    conversation = letta.conversations.create(agent_id=agent.id).id
    send(letta, conversation, "first", "o-1")
    call = {"tool": "memory_insert", "args": {"label": "human", "new_string": "half written"}}
    scripted_model.script([call, {"text": "never seen", "hold": True}])
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, letta, conversation, "second", "o-2")
        scripted_model.wait_for_calls(3)
        process.kill()
        with pytest.raises((APIConnectionError, Exception)):
            sending.result(90)
    scripted_model.reset()
    _, letta = start()
    assert thread(letta, conversation) == ["first", "ok: first"]
    assert letta.agents.blocks.retrieve("human", agent_id=agent.id).value == "?"
    for _ in range(2):
        events = send(letta, conversation, "second", "o-2")
        assert "".join(e.content for e in events if e.message_type == "assistant_message") == "ok: second"
    assert thread(letta, conversation) == ["first", "ok: first", "second", "ok: second"]


def test_killed_while_it_waits_for_the_caller_it_goes_on_waiting_after_the_restart(
    start: Start,
    scripted_model: ScriptedModel,  # noqa: F811
) -> None:
    process, letta = start()
    agent = letta.agents.create(name="a")
    tool: Any = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
    scripted_model.script([{"tool": "look", "args": {}}, {"text": "never seen", "hold": True}])
    user: Any = {"role": "user", "content": "look", "otid": "o"}
    request: Any = letta.agents.messages.create(agent.id, messages=[user], client_tools=[tool]).messages[-1]
    part = {"type": "tool", "tool_call_id": request.tool_call.tool_call_id, "tool_return": "x", "status": "success"}
    back: Any = {"type": "tool_return", "tool_returns": [part]}
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(letta.agents.messages.create, agent.id, messages=[back], client_tools=[tool])
        scripted_model.wait_for_calls(2)
        process.kill()
        with pytest.raises((APIConnectionError, Exception)):
            sending.result(90)
    scripted_model.reset()
    _, letta = start()
    with pytest.raises(APIStatusError, match="PENDING_APPROVAL"):
        letta.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hi"}])
    reply = letta.agents.messages.create(agent.id, messages=[back], client_tools=[tool])
    assert reply.stop_reason.stop_reason == "end_turn"
    kinds = [m.message_type for m in letta.agents.messages.list(agent.id, order="asc")]
    assert kinds == ["user_message", "approval_request_message", "tool_return_message", "assistant_message"]


def test_two_processes_on_one_file_take_turns_on_a_conversation(start: Start) -> None:
    letta = [start()[1] for _ in range(2)]
    agent = letta[0].agents.create(name="a")
    conversation = letta[0].conversations.create(agent_id=agent.id).id
    with ThreadPoolExecutor(10) as pool:
        sent = [pool.submit(send, letta[i % 2], conversation, f"m{i}", f"o{i}") for i in range(10)]
        doubled = [pool.submit(send, letta[(i + 1) % 2], conversation, f"m{i}", f"o{i}") for i in range(4)]
        for future in (*sent, *doubled):
            future.result(120)
    said = thread(letta[1], conversation)
    assert sorted(said[::2]) == [f"m{i}" for i in range(10)]
    assert said[1::2] == [f"ok: {text}" for text in said[::2]]
