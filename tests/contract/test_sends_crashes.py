"""kill -9 of an ATLAS in the middle of a turn on a Letta server: the turn is found, answered once, and not repeated."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.contract.far import Far
from tests.contract.proxy import SEND, Proxy, Waits
from tests.main_job.hosts import ended, host

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


def times_in_context(far: Far, text: str) -> int:
    return sum(text in str(m["content"]) for m in far.scripted.last["messages"] if m["role"] == "user")


async def test_a_turn_whose_process_was_killed_is_answered_by_the_next_one(far: Far, home: Path) -> None:
    far.scripted.hold()
    dropped = far.scripted.dropped
    async with host(home, **far.environment) as server:
        with anyio.fail_after(90):
            handle = await server.call("chat_with_agent", agent="librarian", message="the first", wait_seconds=0)
            await far.scripted.arrived(1, 60)
        server.kill()
    if not far.goes_on:  # it ends the turn once it has noticed: an answer before that would be kept
        await anyio.to_thread.run_sync(far.scripted.wait_for_dropped, dropped + 1)
    far.scripted.release()
    async with host(home, **far.environment) as server:
        run = await ended(server, handle["run_id"])
        assert (run["status"], run["reply"]) == ("completed", "ok: the first"), run["error"]
        again = await server.call("chat_with_agent", agent="librarian", message="the second")
        assert (again["reply"], again["conversation"]) == ("ok: the second", handle["conversation"])
    assert await far.messages(handle["conversation"]) == ["the first", "the second"]
    assert times_in_context(far, "the first") == 1
    # A served embedded Letta ends a turn whose client is gone, so it is taken once more there.
    assert far.scripted.calls == (2 if far.goes_on else 3)


async def test_a_message_still_on_its_way_when_its_process_was_killed_is_not_sent_again(
    real: Far, home: Path, proxy: Proxy
) -> None:
    through = real.environment | {"LETTA_BASE_URL": proxy.url}
    waits = Waits()
    proxy.fail(SEND, waits)
    async with host(home, **through) as server:
        with anyio.fail_after(90):
            handle = await server.call("chat_with_agent", agent="librarian", message="the first", wait_seconds=0)
            await waits.there.wait()
        server.kill()
    async with host(home, **through) as server:
        with anyio.fail_after(90):
            await server.call("list_runs")
            await proxy.until("GET /messages")
            waits.go.set()  # the new process has looked once, in vain
            run = await ended(server, handle["run_id"])
    assert (run["status"], run["reply"]) == ("completed", "ok: the first"), run["error"]
    assert real.scripted.calls == 1
    assert proxy.sent(SEND) == 1
    assert await real.messages(handle["conversation"]) == ["the first"]
