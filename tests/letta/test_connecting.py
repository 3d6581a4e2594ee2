"""Coming to a Letta server: what is found at an address, one that starts late, one that goes away and comes back."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import SecretStr

from atlas_mcp.errors import AtlasError, LettaUnavailable, UnknownModel, UnusableLetta
from atlas_mcp.letta import breaker as breaker_room
from atlas_mcp.letta.breaker import FAILURES, Breaker
from atlas_mcp.letta.connect import connect
from atlas_mcp.model.server import Server, server_at
from tests.letta_process import LettaProcess, letta_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from atlas_mcp.letta.door import Letta

pytestmark = pytest.mark.anyio

DEADLINE = 60
HEALTHY = ("200 OK", "application/json", '{"version": "0.16.8", "status": "ok"}')
HANDLES = json.dumps([{"handle": "openai/gpt-5"}, {"handle": "openai-proxy/mine"}])
EMBEDDINGS = json.dumps([{"handle": "letta/letta-free"}, {"handle": "openai/text-embedding-3-small"}])
LISTED = {
    "/v1/health/": HEALTHY,
    "/v1/models/": ("200 OK", "application/json", HANDLES),
    "/v1/models/embedding": ("200 OK", "application/json", EMBEDDINGS),
    "/v1/conversations/": ("200 OK", "application/json", "[]"),
    "/v1/groups/": ("200 OK", "application/json", "[]"),
}


class Stranger:
    """A program at an address that answers each path as it is told, or hangs up, or says nothing."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.server = Server(name="main", base_url="http://127.0.0.1:1")
        self.asked: list[str] = []
        self.keys: list[str] = []

    async def serve(self, stream: Any) -> None:
        async with stream:
            head = (await stream.receive(65_536)).decode()
            path = head.split()[1].partition("?")[0]
            self.asked.append(path)
            self.keys += [line.partition(": ")[2] for line in head.splitlines() if line.startswith("Authorization")]
            answer = self.answers.get(path, self.answers.get("*", ("404 Not Found", "application/json", "{}")))
            if answer == "hang":
                await anyio.sleep_forever()
            if answer != "hang up":
                status, kind, body = answer
                head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                await stream.send(f"{head}Connection: close\r\n\r\n{body}".encode())


@asynccontextmanager
async def stranger(answers: dict[str, Any], **more: Any) -> AsyncIterator[Stranger]:
    there = Stranger(answers)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        there.server = Server(name="main", base_url=f"http://127.0.0.1:{port}", **more)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, there.serve)
            yield there
            tasks.cancel_scope.cancel()


async def refusal(server: Server, **more: Any) -> AtlasError:
    with anyio.fail_after(DEADLINE), pytest.raises(AtlasError) as refused:
        async with connect(server, Breaker(server.shown), patience=0, **more):
            pass
    return refused.value


async def test_a_server_is_asked_what_it_is_and_can_do() -> None:
    async with (
        stranger(LISTED, api_key=SecretStr("sk-mine")) as there,
        connect(there.server, Breaker("it"), patience=0) as letta,
    ):
        assert (letta.name, letta.kind, letta.abilities.version) == ("main", "server", "0.16.8")
        assert letta.abilities.models == ("openai/gpt-5", "openai-proxy/mine")
        can = letta.abilities
        assert (can.conversations, can.groups, can.folders, can.enforces_limits) == (True, True, False, False)
        assert set(there.keys) == {"Bearer sk-mine"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("200 OK", "text/html", "<html>Welcome</html>"), "no Letta: /v1/health/ gives 200, text/html"),
        (("404 Not Found", "text/html", "<html>"), "no Letta: /v1/health/ gives 404"),
        (("200 OK", "application/json", '["status"]'), "no Letta"),
        (("200 OK", "application/json", '{"version": "0.11.7", "status": "ok"}'), "has version 0.11.7; 0.16 or newer"),
    ],
)
async def test_what_is_no_letta_or_too_old_is_told(answer: Any, words: str) -> None:
    async with stranger({"*": answer}) as there:
        error = await refusal(there.server)
    assert isinstance(error, UnusableLetta)
    assert words in str(error)
    assert error.argument == "[[letta_servers]] main, base_url"
    assert error.next_step


@pytest.mark.parametrize("answer", ["hang up", ("502 Bad Gateway", "text/html", "<html>"), ("500 No", "text/html", "")])
async def test_what_may_pass_is_told_as_that(answer: Any) -> None:
    async with stranger({"*": answer}) as there:
        error = await refusal(there.server)
    assert isinstance(error, LettaUnavailable)
    assert there.server.base_url in str(error)


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_room, "READ_SECONDS", 0.3)
    async with stranger({"*": "hang"}) as there:
        assert isinstance(await refusal(there.server), LettaUnavailable)


@pytest.mark.parametrize(
    ("key", "words"), [(None, "wants a key, and none is set (401)"), (SecretStr("wrong"), "refuses the key (401)")]
)
async def test_a_key_that_is_missing_or_wrong_is_told_with_the_setting(key: SecretStr | None, words: str) -> None:
    unauthorized = ("401 Unauthorized", "application/json", '{"detail":"Unauthorized"}')
    async with stranger({"/v1/health/": HEALTHY, "*": unauthorized}) as there:
        by_name = await refusal(there.server.model_copy(update={"api_key": key}))
        by_address = await refusal(server_at(there.server.base_url).model_copy(update={"api_key": key}))
    assert words in str(by_name)
    assert by_name.argument == "[[letta_servers]] main, api_key"
    assert by_address.argument == "LETTA_API_KEY"


async def test_the_embedding_model_is_the_servers_own() -> None:
    async with stranger(LISTED) as there:
        error = await refusal(there.server, embedding="openai/none")
        async with connect(there.server, Breaker("it"), embedding="openai:text-embedding-3-small", patience=0):
            pass
    assert isinstance(error, UnknownModel)
    assert error.argument == "LETTA_EMBEDDING_MODEL"
    assert "openai/text-embedding-3-small" in str(error)


async def test_a_server_that_is_only_starting_is_waited_for(tmp_path: Path) -> None:
    process = LettaProcess(tmp_path / "letta")
    process.start()
    server = server_at(process.address).model_copy(update={"api_key": SecretStr(process.key)})
    process.stop()
    breaker = Breaker(server.shown)
    versions: list[str] = []

    async def come() -> None:
        async with connect(server, breaker, patience=DEADLINE) as letta:
            versions.append(letta.abilities.version)

    try:
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(come)
                await until(lambda: breaker.since is not None)  # it has been there in vain
                await anyio.to_thread.run_sync(process.start)
    finally:
        process.stop()
        process.close()
    assert versions == ["0.16.8-embedded"]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[LettaProcess]:
    with letta_process(tmp_path / "letta") as running:
        yield running


async def told(letta: Letta) -> str:
    """What a call comes to: the error's words, or nothing."""
    try:
        await letta.find_agents(["none"])
    except LettaUnavailable as error:
        return str(error)
    return ""


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(DEADLINE):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.01)


async def answers_again(letta: Letta) -> None:
    with anyio.fail_after(DEADLINE):
        while await told(letta):  # noqa: ASYNC110 - asking is what finds out
            await anyio.sleep(0.05)


async def test_a_server_that_goes_away_is_an_error_at_once_and_is_used_again_when_it_is_back(
    process: LettaProcess,
) -> None:
    server = server_at(process.address).model_copy(update={"api_key": SecretStr(process.key)})
    breaker = Breaker(server.shown)
    async with connect(server, breaker, patience=0) as letta:
        assert await told(letta) == ""
        process.stop()
        for _ in range(FAILURES):
            assert process.address in await told(letta)
        assert breaker.is_open
        assert breaker.since
        message = await told(letta)
        assert f"has not been reached since {breaker.since:%H:%M:%S} UTC" in message
        assert "doctor" in message
        await anyio.to_thread.run_sync(process.start)
        await answers_again(letta)
        assert not breaker.is_open
        assert breaker.since is None


async def test_an_open_breaker_lets_one_question_through_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_room, "PROBE_SECONDS", 0.3)
    async with stranger(dict(LISTED)) as there:
        breaker = Breaker(there.server.shown)
        async with connect(there.server, breaker, patience=0) as letta:
            there.answers = {"*": "hang up"}
            for _ in range(FAILURES):
                assert await told(letta)
            there.answers = {"*": "hang"}
            there.asked.clear()
            breaker._next_probe = 0  # pyright: ignore[reportPrivateUsage]  # no waiting for it
            messages: list[str] = []

            async def call() -> None:
                messages.append(await told(letta))

            with anyio.fail_after(DEADLINE):
                async with anyio.create_task_group() as tasks:
                    for _ in range(20):
                        tasks.start_soon(call)
            assert there.asked == ["/v1/health/"]
            assert len(messages) == 20
            assert all("has not been reached since" in message for message in messages)


async def test_a_probe_that_was_cancelled_does_not_keep_the_breaker_open() -> None:
    async with stranger(dict(LISTED)) as there:
        breaker = Breaker(there.server.shown)
        async with connect(there.server, breaker, patience=0) as letta:
            there.answers = {"*": "hang up"}
            for _ in range(FAILURES):
                assert await told(letta)
            there.answers = {"*": "hang"}
            breaker._next_probe = 0  # pyright: ignore[reportPrivateUsage]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(told, letta)
                await until(lambda: there.asked[-1] == "/v1/health/")
                tasks.cancel_scope.cancel()
            there.answers = LISTED | {"/v1/agents/": ("200 OK", "application/json", "[]")}
            await answers_again(letta)


async def test_an_error_that_letta_itself_answers_opens_no_breaker() -> None:
    failed = ("502 Bad Gateway", "application/json", '{"error": {"type": "llm_error", "message": "no"}}')
    async with stranger(dict(LISTED)) as there:
        breaker = Breaker(there.server.shown)
        async with connect(there.server, breaker, patience=0) as letta:
            there.answers = {"*": failed}
            for _ in range(FAILURES + 1):
                with pytest.raises(AtlasError):
                    await letta.find_agents(["none"])
            assert not breaker.is_open
