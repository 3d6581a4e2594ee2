"""What goes wrong with a Letta server once it is in use: a clear error, nothing half-done, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.constellation.names import tags
from atlas_mcp.errors import LettaUnavailable
from atlas_mcp.model.caller import Caller
from tests.constellation.conftest import Echo
from tests.contract.far import Far, Side
from tests.contract.proxy import SEND, Cut, Fault, Hangs, Proxy, Says
from tests.main_job.hosts import host

if TYPE_CHECKING:
    from atlas_mcp.model.turn import TurnResult

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

HTML = "<html><body>Please log in</body></html>"
ANSWERS: dict[str, tuple[Fault, str]] = {
    "a wrong key": (Says(401, '{"detail": "Unauthorized"}'), r"refuses the call \(401\).*LETTA_API_KEY"),
    "another program": (Says(404, '{"error": {"message": "no route"}}'), r"is no Letta.*LETTA_BASE_URL"),
    "an address that it does not have": (Says(404, '{"detail": "Not Found"}'), r"is no Letta.*LETTA_BASE_URL"),
    "HTML": (Says(200, HTML, "text/html"), r"not Letta's.*text/html.*LETTA_BASE_URL"),
    "a gateway's 502": (Says(502, HTML, "text/html"), r"502"),
    "500": (Says(500, '{"detail": "out of memory"}'), r"error \(500\): out of memory"),
    "503": (Says(503, '{"detail": "starting"}'), r"busy \(503\): starting"),
    "nothing": (Cut(before_it_is_sent=True), r"did not answer.*get_status"),
    "nothing, though it did what was asked": (Cut(), r"did not answer.*get_status"),
}
REFUSALS = {what: told for what, told in ANSWERS.items() if told[0] != Cut()}
"""Those after which nothing can have begun; what was delivered all the same is found: see test_sends."""
PLACES = ["POST /v1/agents/", "POST /v1/blocks/", "POST /v1/conversations/"]


@pytest.fixture
def echo() -> Echo:
    return Echo()


async def sent(side: Side, message: str, key: str, **more: Any) -> TurnResult:
    return await side.of().take_turn("librarian", message, conversation=None, key=key, **more)


async def agents_of(far: Far, side: Side) -> int:
    """How many librarians this home's caller has in Letta."""
    async with far.client() as client:
        mine = tags(Caller(id=side.caller), "librarian")
        return len((await client.agents.list(tags=mine, match_all_tags=True)).items)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("fault", "words"), ANSWERS.values(), ids=ANSWERS)
async def test_a_server_that_answers_wrongly_is_told_with_the_next_step_and_leaves_nothing_half_done(
    real: Far, side: Side, proxy: Proxy, place: str, fault: Fault, words: str
) -> None:
    proxy.fail(place, fault)
    with anyio.fail_after(90), pytest.raises(LettaUnavailable, match=words):
        await sent(side, "hello", "1")
    assert real.scripted.calls == 0
    if fault == Cut() and place == "POST /v1/agents/":  # the server is still at it, whom nobody waits for any more
        with anyio.fail_after(60):
            while not await agents_of(real, side):
                pass
    turn = await sent(side, "hello", "1")
    assert turn.reply == "ok: hello"
    assert await agents_of(real, side) == 1
    assert real.scripted.calls == 1
    assert await real.messages(turn.conversation) == ["hello"]


@pytest.mark.parametrize(("fault", "words"), REFUSALS.values(), ids=REFUSALS)
async def test_a_server_that_goes_on_answering_wrongly_to_a_message_is_told_and_loses_nothing(
    real: Far, side: Side, proxy: Proxy, fault: Fault, words: str
) -> None:
    await sent(side, "good morning", "0")
    real.scripted.reset()
    proxy.fail(lambda line, _: "/messages" in line or "/runs" in line, fault, times=None)
    with anyio.fail_after(120), pytest.raises(LettaUnavailable, match=words):
        await sent(side, "hello", "1")
    proxy.heal()
    turn = await sent(side, "hello", "1")
    assert turn.reply == "ok: hello"
    assert await real.messages(turn.conversation) == ["good morning", "hello"]
    assert real.scripted.calls == 1


async def test_a_server_that_hangs_is_given_up_at_the_deadline(
    far: Far, side: Side, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.fail("POST /v1/agents/", Hangs())
    with monkeypatch.context() as hurried:
        hurried.setattr("atlas_mcp.letta.faults.CALL_SECONDS", 1.0)
        with anyio.fail_after(90), pytest.raises(LettaUnavailable, match=r"did not answer.*get_status"):
            await sent(side, "hello", "1")
    assert (await sent(side, "hello", "1")).reply == "ok: hello"


async def test_an_agent_that_is_deleted_in_the_middle_of_a_turn_is_made_anew_and_answers(
    far: Far, side: Side, echo: Echo
) -> None:
    before = await sent(side, "good morning", "0")
    far.scripted.on("say it", [{"tool": "echo", "args": {"text": "hi"}}, "said"])
    told: list[str] = []

    async def on_event(actor: str, type: str, text: str, **_: Any) -> None:
        told.append(type)

    class Deleting(Echo):
        async def call(self, name: str, arguments: dict[str, Any]) -> str:
            if not self.called:
                async with far.client() as client:
                    agent = (await client.conversations.retrieve(before.conversation)).agent_id
                    await client.agents.delete(agent)
            return await super().call(name, arguments)

    with anyio.fail_after(120):
        turn = await sent(side, "say it", "1", tools=Deleting(), on_event=on_event)
    assert turn.reply == "said"
    assert turn.conversation != before.conversation
    assert "agent_recreated" in told
    assert await far.messages(turn.conversation) == ["say it"]


async def test_an_agent_deleted_while_its_model_thinks_is_made_anew_and_answers(
    far: Far, side: Side, proxy: Proxy
) -> None:
    before = await sent(side, "good morning", "0")
    far.scripted.reset()
    far.scripted.hold()
    turns: list[TurnResult] = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            turns.append(await sent(side, "hello", "1"))

        tasks.start_soon(send)
        await far.scripted.arrived(1)
        async with far.client() as client:
            agent = (await client.conversations.retrieve(before.conversation)).agent_id
            await client.agents.delete(agent)
        far.scripted.release()
    assert turns[0].reply == "ok: hello"
    assert turns[0].conversation != before.conversation
    assert await far.messages(turns[0].conversation) == ["hello"]


async def test_a_chat_says_what_is_wrong_with_the_server_and_what_to_do(far: Far, home: Path, proxy: Proxy) -> None:
    environment = far.environment | {"LETTA_BASE_URL": proxy.url}
    async with host(home, **environment) as server:
        assert (await server.call("chat_with_agent", agent="librarian", message="hello"))["reply"] == "ok: hello"
        proxy.fail(SEND, Says(401, '{"detail": "Unauthorized"}'))
        refused = await server.client.call_tool("chat_with_agent", {"agent": "librarian", "message": "and now?"})
        assert refused.is_error
        assert "LETTA_API_KEY" in str(refused.content)
        assert (await server.call("chat_with_agent", agent="librarian", message="again"))["reply"] == "ok: again"
    assert far.scripted.calls == 2


async def test_a_thread_deleted_behind_our_back_is_opened_anew(far: Far, side: Side) -> None:
    before = await sent(side, "good morning", "0")
    async with far.client() as client:
        await client.conversations.delete(before.conversation)
    assert (await sent(side, "hello", "1")).reply == "ok: hello"
