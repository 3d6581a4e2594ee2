"""One turn at a time in a conversation, whoever asks: many clients, several server processes, one home."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.contract.far import Far, Side, side_of
from tests.contract.proxy import Proxy, Says
from tests.main_job.hosts import Host, host
from tests.real_letta import RealLetta
from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
DEADLINE = 240


@pytest.fixture(params=["embedded", "real"])
def where(request: pytest.FixtureRequest) -> tuple[ScriptedModel, dict[str, str]]:
    """The model that answers, and the environment of servers whose agents live in a Letta of each kind."""
    if request.param == "real":
        letta: RealLetta = request.getfixturevalue("real_letta")
        more = {"LETTA_MODEL": letta.model, "LETTA_EMBEDDING_MODEL": letta.embedding}
        return letta.scripted, {"LETTA_BASE_URL": letta.url, **more}
    scripted: ScriptedModel = request.getfixturevalue("scripted_model")
    return scripted, {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": scripted.url, "OPENAI_API_KEY": "k"}


@asynccontextmanager
async def hosts(home: Path, names: list[str], environment: dict[str, str]) -> AsyncGenerator[list[Host]]:
    """Server processes on one home, each with a client of that name."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(host(home, name, **environment)) for name in names]


def users_said(request: dict[str, Any]) -> list[str]:
    return [m["content"] for m in request["messages"] if m["role"] == "user"]


async def test_fifty_parallel_calls_from_three_servers_to_one_agent_are_fifty_turns_one_after_the_other(
    home: Path, where: tuple[ScriptedModel, dict[str, str]]
) -> None:
    scripted, environment = where
    replies: dict[str, dict[str, Any]] = {}

    async def chat(server: Host, word: str) -> None:
        replies[word] = await server.call("chat_with_agent", agent="librarian", message=f"@@say heard {word}")
        while replies[word]["status"] == "working":
            run = await server.call("get_run", run_id=replies[word]["run_id"], wait_seconds=30)
            assert run["status"] in ("queued", "working", "completed"), run["error"]
            if run["status"] == "completed":
                replies[word] |= {"status": "completed", "reply": run["reply"]}

    words = [f"word-{number}" for number in range(50)]
    async with hosts(home, ["desk"] * 3, environment) as servers:
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                for number, word in enumerate(words):
                    tasks.start_soon(chat, servers[number % 3], word)
    assert {word: reply["reply"] for word, reply in replies.items()} == {word: f"heard {word}" for word in words}
    assert len({reply["conversation"] for reply in replies.values()}) == 1
    assert scripted.calls == 50
    # Each turn saw all turns before it, so none ran beside another and none was lost.
    assert [len(users_said(request)) for request in scripted.requests] == list(range(1, 51))
    assert sorted(users_said(scripted.last)) == sorted(f"@@say heard {word}" for word in words)


async def test_different_agents_and_different_conversations_run_side_by_side(
    home: Path, where: tuple[ScriptedModel, dict[str, str]]
) -> None:
    scripted, environment = where
    async with hosts(home, ["desk", "phone"], environment) as (desk, phone):
        asked = [(desk, "librarian", "one"), (phone, "librarian", "two"), (desk, "strategist", "three")]
        for server, agent, _ in asked:
            await server.call("chat_with_agent", agent=agent, message="@@say ready")
        scripted.reset()
        scripted.hold()
        replies: list[str] = []

        async def chat(server: Host, agent: str, word: str) -> None:
            replies.append((await server.call("chat_with_agent", agent=agent, message=f"@@say {word}"))["reply"])

        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for call in asked:
                    tasks.start_soon(chat, *call)
                await scripted.arrived(3, 100)  # no answer was given yet: all three turns are under way at once
                scripted.release()
    assert sorted(replies) == ["one", "three", "two"]


async def test_where_a_server_has_no_conversations_each_agent_has_one_thread_and_one_turn_at_a_time(
    far: Far, home: Path, proxy: Proxy
) -> None:
    def of_conversations(line: str, _: bytes) -> bool:
        return "/v1/conversations" in line

    proxy.fail(of_conversations, Says(404, '{"detail": "Not Found"}'), times=None)
    threads: list[str] = []

    async def say(side: Side, client: str, number: int) -> None:
        word = f"{client}-{number}"
        conversation = None if number % 2 else "new"
        turn = await side.of(client=client).take_turn("librarian", word, conversation=conversation, key=word)
        assert turn.reply == f"ok: {word}"
        threads.append(turn.conversation)

    async with (
        side_of(home, far, proxy.url, conversations=False) as one,
        side_of(home, far, proxy.url, conversations=False) as two,
        anyio.create_task_group() as tasks,
    ):
        for number in range(6):
            tasks.start_soon(say, one, "desk", number)
            tasks.start_soon(say, two, "phone", number)
    assert not proxy.met.is_set()
    assert len(set(threads)) == 1
    assert threads[0].startswith("agent-")
    assert [len(users_said(request)) for request in far.scripted.requests] == list(range(1, 13))
    assert len([m for m in await far.messages(threads[0]) if m.startswith(("desk", "phone"))]) == 12
