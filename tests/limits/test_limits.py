"""What each caller may ask for, through clients over HTTP with keys of their own."""

from __future__ import annotations

import re
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import MCPError

from atlas_mcp.access.limits import REQUESTS_PER_MINUTE, TURNS, Limiter
from atlas_mcp.errors import LimitReached
from atlas_mcp.model.access import Grant, Limits
from atlas_mcp.model.caller import Caller
from tests.server.doors import COMMAND, MODERN, call, http_server, over_http, refused, until_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.client import Client

    from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio
DEADLINE = 200


def new_key(name: str, *limits: str) -> str:
    """The token of a new key."""
    options = [part for limit in limits for part in ("--limit", limit)]
    return subprocess.run(
        [*COMMAND, "keys", "create", name, *options], check=True, capture_output=True, text=True, timeout=DEADLINE
    ).stdout.strip()


@asynccontextmanager
async def two(ann: str, bob: str) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of two keys on one server."""
    with http_server() as (address, _, _):
        async with over_http(address, ann, "/mcp", MODERN) as one, over_http(address, bob, "/mcp", MODERN) as other:
            yield one, other


async def test_requests_beyond_a_minutes_are_refused_with_when_to_try_again_and_only_for_that_caller() -> None:
    async with two(new_key("ann", "requests_per_minute=6"), new_key("bob")) as (ann, bob):
        told: list[str] = []
        with anyio.fail_after(DEADLINE):
            while not told:
                result = await ann.call_tool("list_agents", {})
                told += [part.text for part in result.content if result.is_error and part.type == "text"]
        assert "you asked more than 6 times within a minute" in told[0]
        assert re.search(r"Try again in ([1-9]|10) seconds", told[0])
        with pytest.raises(MCPError, match="Try again in") as refusal:
            await until_refused(ann)
        assert 0 < refusal.value.error.data["retryAfter"] <= 10
        for _ in range(12):
            await call(bob, "list_agents")


async def test_turns_beyond_those_allowed_at_once_are_refused_until_one_ends(
    scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    scripted_model.hold()
    async with two(new_key("ann", "turns=1"), new_key("bob")) as (ann, bob):
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(call, ann, "chat_with_agent", agent="librarian", message="Hello."))
                await scripted_model.arrived(1)
                text = await refused(ann, "chat_with_agent", agent="web_researcher", message="Hello.")
                assert "1 of your turns are under way, and no more may be at once" in text
                assert "Try again in 5 seconds" in text
                tasks.start_soon(partial(call, bob, "chat_with_agent", agent="web_researcher", message="Hello."))
                await scripted_model.arrived(2)
                scripted_model.release()
            await call(ann, "chat_with_agent", agent="librarian", message="Hello again.")


async def test_runs_and_sizes_beyond_a_keys_own_are_refused_and_nothing_is_begun() -> None:
    async with two(new_key("ann", "runs=2", "message_chars=40", "material_chars=50"), new_key("bob")) as (ann, bob):
        with anyio.fail_after(DEADLINE):
            made = [
                await call(ann, "run_team_task", goal="Say where tea grows.", approve_plan=True, wait_seconds=0)
                for _ in range(2)
            ]
            text = await refused(ann, "run_team_task", goal="Say where tea grows.", wait_seconds=0)
            assert "you have 2 runs that have not ended, and may have 2" in text
            assert "cancel_run" in text
            assert "Try again in 30 seconds" in text
            assert len((await call(ann, "list_runs"))["runs"]) == 2
            await call(ann, "cancel_run", run_id=made[0]["run_id"])
            await call(ann, "run_team_task", goal="Say where tea grows.", approve_plan=True, wait_seconds=0)
            long = await refused(ann, "chat_with_agent", agent="librarian", message="x" * 41)
            assert "message: 41 characters is too long: the limit is 40" in long
            given: list[dict[str, Any]] = [{"name": "a", "text": "fits"}, {"name": "b", "text": "x" * 51}]
            long = await refused(ann, "run_team_task", goal="Say.", materials=given)
            assert "materials.1.text: 51 characters is too long: the limit is 50" in long
            assert "the limit is 50" in await refused(ann, "share_knowledge", name="n", text="x" * 51)
            run = await call(bob, "run_team_task", goal="Say where tea grows. " * 5, wait_seconds=20)
            assert (await until_ended(bob, run))["status"] == "completed"


async def until_refused(client: Client) -> None:
    """Ask for something else than a tool: on a slow machine there may be requests again by now."""
    with anyio.fail_after(DEADLINE):
        while True:
            await client.list_resources()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def grant(via: str, **limits: int) -> Grant:
    return Grant(caller=Caller(id=f"key:{via}", kind="key"), via=via, limits=Limits(**limits))


def admitted(limiter: Limiter, grant: Grant, most: int = 20_000) -> int:
    """How many requests are let in until one is refused."""
    for count in range(most):
        try:
            limiter.admit(grant)
        except LimitReached:
            return count
    return most


async def test_a_minute_gives_as_many_again_and_says_when_the_next_comes() -> None:
    clock = Clock()
    limiter = Limiter(requests_per_minute=None, turns=None, open_runs=5, clock=clock)
    ann = grant("k1", requests_per_minute=30)
    assert admitted(limiter, ann) == 30
    clock.now += 1.5
    with pytest.raises(LimitReached) as refusal:
        limiter.admit(ann)
    assert refusal.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    assert admitted(limiter, ann) == 1
    clock.now += 3_600
    assert admitted(limiter, ann) == 30


async def test_a_keys_own_limit_goes_before_the_setting_and_home_and_stdio_have_none_by_themselves() -> None:
    plain = Limiter(requests_per_minute=None, turns=None, open_runs=5, clock=Clock())
    assert admitted(plain, grant("k1")) == REQUESTS_PER_MINUTE
    assert admitted(plain, grant("http")) == 20_000
    assert admitted(plain, grant("stdio")) == 20_000
    strict = Limiter(requests_per_minute=7, turns=None, open_runs=5, clock=Clock())
    assert admitted(strict, grant("k1")) == 7
    assert admitted(strict, grant("k2", requests_per_minute=3)) == 3
    assert admitted(strict, grant("http")) == 7
    assert admitted(strict, grant("stdio")) == 20_000
    none = Limiter(requests_per_minute=0, turns=0, open_runs=5, clock=Clock())
    assert admitted(none, grant("k1")) == 20_000
    assert plain.open_runs("key:k9") == 5
    plain.admit(grant("k9", runs=2))
    assert plain.open_runs("key:k9") == 2


async def test_turns_under_way_are_counted_by_caller() -> None:
    limiter = Limiter(requests_per_minute=None, turns=None, open_runs=5)
    ann, bob = grant("k1", turns=1), grant("k2")
    with limiter.turn(ann):
        with pytest.raises(LimitReached), limiter.turn(ann):
            pass
        with limiter.turn(bob):
            pass
    with limiter.turn(ann):
        pass
    assert TURNS == 64
