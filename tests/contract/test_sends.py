"""Sends are never doubled: whatever happens to a message on its way, it is answered once, and is in its thread once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.errors import LettaUnavailable, ModelFailed
from tests.constellation.conftest import Echo
from tests.contract.far import QUICK, Far, Side, side_of
from tests.contract.proxy import SEND, Cut, Fault, Hangs, HeldUp, Proxy, Says

if TYPE_CHECKING:
    from atlas_mcp.model.turn import TurnResult

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

HTML = "<html><body>Please log in</body></html>"
REFUSED: dict[str, Fault] = {
    "cut before it was sent": Cut(before_it_is_sent=True),
    "answered with 409": Says(409),
    "answered with 429": Says(429, headers=(("Retry-After", "1"),)),
    "answered with 500": Says(500),
    "answered with 503": Says(503),
    "answered with a gateway's 502": Says(502, HTML, "text/html"),
    "answered with a gateway's 504": Says(504, HTML, "text/html"),
    "answered with HTML": Says(200, HTML, "text/html"),
    "swallowed": Hangs(),
}
DELIVERED: dict[str, Fault] = {
    "cut after it was sent": Cut(),
    "cut after the first event": Cut(after_events=1),
    "cut in mid stream": Cut(after_events=2),
    "delivered, and never answered": Hangs(delivered=True),
}
FAULTS = REFUSED | DELIVERED


@pytest.fixture
def echo() -> Echo:
    return Echo()


async def sent(side: Side, message: str, key: str, **more: Any) -> TurnResult:
    return await side.of().take_turn("librarian", message, conversation=None, key=key, **more)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_message_that_met_a_fault_is_answered_once_in_the_same_call(
    far: Far, side: Side, proxy: Proxy, fault: Fault
) -> None:
    await sent(side, "good morning", "0")
    far.scripted.reset()
    far.scripted.on("who are you", "the librarian, of course")
    proxy.fail(SEND, fault)
    with anyio.fail_after(120):
        turn = await sent(side, "who are you", "1")
    assert proxy.met.is_set()
    assert turn.reply == "the librarian, of course"
    assert (await sent(side, "who are you", "1")) == turn
    assert await far.messages(turn.conversation) == ["good morning", "who are you"]
    # A served embedded Letta ends a turn whose client is gone, at whatever point it is.
    assert far.scripted.calls in ((1,) if far.goes_on or fault in REFUSED.values() else (1, 2))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_tools_return_that_met_a_fault_is_handed_over_once_and_the_tool_runs_once(
    far: Far, side: Side, proxy: Proxy, fault: Fault, echo: Echo
) -> None:
    far.scripted.on("say it", [{"tool": "echo", "args": {"text": "hi"}}, "said"])
    proxy.fail(lambda line, body: line.startswith("POST") and b"tool_returns" in body, fault)
    with anyio.fail_after(120):
        turn = await sent(side, "say it", "1", tools=echo)
    assert proxy.met.is_set()
    assert turn.reply == "said"
    assert echo.called == [{"text": "hi"}]
    assert turn.usage.input_tokens > 0
    assert await far.messages(turn.conversation) == ["say it"]
    assert far.scripted.calls in ((2,) if far.goes_on or fault in REFUSED.values() else (2, 3))


async def test_a_message_held_up_on_its_way_past_the_first_look_is_not_sent_again(
    far: Far, side: Side, proxy: Proxy
) -> None:
    await sent(side, "good morning", "0")
    far.scripted.reset()
    held = HeldUp()
    proxy.fail(SEND, held)
    posts, looks = proxy.sent(SEND), proxy.sent("GET /messages")
    turns: list[TurnResult] = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            turns.append(await sent(side, "who are you", "1"))

        tasks.start_soon(send)
        await proxy.until("GET /messages", since=looks)
        held.deliver.set()
    assert turns[0].reply == "ok: who are you"
    assert proxy.sent(SEND) == posts + 1
    assert far.scripted.calls == 1
    assert await far.messages(turns[0].conversation) == ["good morning", "who are you"]


async def test_a_turn_that_still_runs_after_the_cut_is_waited_for(real: Far, side: Side, proxy: Proxy) -> None:
    real.scripted.hold()
    proxy.fail(SEND, Cut(after_events=1))
    turns: list[TurnResult] = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            turns.append(await sent(side, "who are you", "1"))

        tasks.start_soon(send)
        await proxy.until("GET /v1/runs/", 3)
        assert turns == []
        real.scripted.release()
    assert turns[0].reply == "ok: who are you"
    assert real.scripted.calls == 1
    assert proxy.sent(SEND) == 1


async def test_a_letta_that_goes_away_in_mid_turn_and_comes_back_is_waited_for(
    real: Far, home: Path, proxy: Proxy
) -> None:
    turns: list[TurnResult] = []
    async with side_of(home, real, proxy.url, patience=replace(QUICK, away=90)) as side:
        await sent(side, "good morning", "0")
        real.scripted.reset()
        real.scripted.hold()
        proxy.fail(SEND, Cut(after_events=1))
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                turns.append(await sent(side, "who are you", "1"))

            tasks.start_soon(send)
            await real.scripted.arrived(1)
            await proxy.refuse()
            with anyio.fail_after(90):
                while not side.breaker.is_open:
                    await anyio.lowlevel.checkpoint()
            await proxy.listen()
            real.scripted.release()
    assert turns[0].reply == "ok: who are you"
    assert real.scripted.calls == 1


async def test_a_letta_that_stays_away_in_mid_turn_is_said_and_the_same_turn_finds_its_answer_later(
    real: Far, side: Side, proxy: Proxy
) -> None:
    await sent(side, "good morning", "0")
    real.scripted.reset()
    proxy.fail(SEND, Cut(after_events=1))
    proxy.fail(lambda line, _: line.startswith("GET"), Cut(), times=None)
    with anyio.fail_after(120), pytest.raises(LettaUnavailable, match=r"not known.*before you repeat it"):
        await sent(side, "who are you", "1")
    proxy.heal()
    turn = await sent(side, "who are you", "1")
    assert turn.reply == "ok: who are you"
    assert real.scripted.calls == 1
    assert await real.messages(turn.conversation) == ["good morning", "who are you"]


async def test_a_letta_that_is_not_there_is_an_error_at_once_and_the_turn_can_be_taken_later(
    far: Far, side: Side, proxy: Proxy
) -> None:
    await sent(side, "good morning", "0")
    far.scripted.reset()
    await proxy.refuse()
    with anyio.fail_after(60), pytest.raises(LettaUnavailable, match="did not answer"):
        await sent(side, "who are you", "1")
    await proxy.listen()
    turn = await sent(side, "who are you", "1")
    assert turn.reply == "ok: who are you"
    assert far.scripted.calls == 1


async def test_a_letta_that_stays_busy_is_given_up_and_nothing_was_begun(far: Far, side: Side, proxy: Proxy) -> None:
    await sent(side, "good morning", "0")
    posts = proxy.sent(SEND)
    far.scripted.reset()
    proxy.fail(SEND, Says(429), times=None)
    with anyio.fail_after(90), pytest.raises(LettaUnavailable, match=r"busy \(429\)"):
        await sent(side, "who are you", "1")
    assert proxy.sent(SEND) - posts > 1
    proxy.heal()
    assert (await sent(side, "who are you", "1")).reply == "ok: who are you"
    assert far.scripted.calls == 1


async def test_a_model_that_failed_while_the_connection_was_cut_is_said_and_not_asked_again(
    real: Far, side: Side, proxy: Proxy
) -> None:
    real.scripted.on("who are you", {"status": 400, "message": "no such luck"})
    proxy.fail(SEND, Cut(after_events=1))
    with anyio.fail_after(90), pytest.raises(ModelFailed, match="no such luck"):
        await sent(side, "who are you", "1")
    assert real.scripted.calls == 1


async def test_a_turn_whose_model_failed_half_way_is_gone_on_with_and_its_message_is_not_repeated(
    real: Far, side: Side, echo: Echo
) -> None:
    real.scripted.script([{"tool": "echo", "args": {"text": "hi"}}, {"status": 400}, "said at last"])
    with pytest.raises(ModelFailed):
        await sent(side, "say it", "1", tools=echo)
    turn = await sent(side, "say it", "1", tools=echo)
    assert turn.reply == "said at last"
    assert echo.called == [{"text": "hi"}]
    asked = await real.messages(turn.conversation)
    assert asked[0] == "say it"
    assert "interrupted" in asked[1]
    assert len(asked) == 2
    assert (await sent(side, "say it", "1")) == turn


async def test_the_next_turn_waits_for_one_that_was_cancelled_and_still_runs_on_the_server(
    real: Far, side: Side, proxy: Proxy
) -> None:
    real.scripted.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sent, side, "the first", "1")
        await real.scripted.arrived(1)
        tasks.cancel_scope.cancel()
    turns: list[TurnResult] = []
    async with anyio.create_task_group() as tasks:

        async def send() -> None:
            turns.append(await sent(side, "the second", "2"))

        tasks.start_soon(send)
        await proxy.until("GET /v1/runs/", 2)
        assert real.scripted.calls == 1
        real.scripted.release()
    assert turns[0].reply == "ok: the second"
    asked = [m["content"] for m in real.scripted.last["messages"] if m["role"] == "user"]
    assert asked == ["the first", "the second"]


async def test_a_run_whose_server_died_is_taken_for_dead_when_it_makes_no_step_any_more(
    real: Far, home: Path, proxy: Proxy
) -> None:
    hurried = replace(QUICK, event=8)  # what is alive makes a step in that time on any machine
    real.scripted.on("never", {"text": "too late", "hold": True}, times=1)
    async with side_of(home, real, proxy.url, patience=hurried) as side:
        proxy.fail(SEND, Cut(after_events=1))
        with anyio.fail_after(120):
            turn = await sent(side, "never", "1")
    assert turn.reply == "ok: never"
    real.scripted.release()
