"""Embedders behind an address, asked over a loopback port: what they are sent, and what becomes of bad answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from pydantic import SecretStr

from atlas_mcp.errors import AtlasError, ConfigurationError, EmbedderFailed
from atlas_mcp.memory.embedders import remote
from atlas_mcp.memory.embedders.opening import open_embedder
from atlas_mcp.model.stores import StoresConfig
from tests.memory.embedding_server import Call, EmbeddingServer, Reply, Rule, embedding_server, refuse_with, vector_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
KEY = "sk-of-the-test"


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as started:
        yield started


def config(server: EmbeddingServer, embedder: str = "openai-compatible", **more: Any) -> StoresConfig:
    known: dict[str, Any] = {"embedding_model": "m-1", "embedding_key": SecretStr(KEY)}
    return StoresConfig(embedder=embedder, embedding_url=SecretStr(server.url), **(known | more))


async def refused(config: StoresConfig, home: Path, kind: type[AtlasError] = EmbedderFailed) -> Any:
    """How opening it fails."""
    with pytest.raises(kind) as caught, anyio.fail_after(60):
        async with open_embedder(config, home):
            pytest.fail("it opened")
    assert KEY not in str(caught.value)
    return caught.value


def answer(content: bytes) -> Rule:
    async def rule(_: Call) -> Reply:
        return Reply(content=content)

    return rule


def unit(text: str, model: str = "m-1", dimension: int = 16) -> Any:
    vector = np.array(vector_of(text, model, dimension))
    return pytest.approx(vector / np.linalg.norm(vector), abs=1e-6)


async def test_an_openai_compatible_server_is_asked_in_batches_and_each_text_gets_its_own_vector(
    server: EmbeddingServer, home: Path
):
    texts = [f"text {n}" for n in range(remote.AT_ONCE + 3)] + ["\ud800", "", "東京\0"]
    async with open_embedder(config(server), home) as embedder:
        assert embedder
        vectors = await embedder.embed(texts)
        assert (embedder.dimension, embedder.ranks, vectors.shape) == (16, True, (len(texts), 16))
        assert (await embedder.embed([])).shape == (0, 16)
    assert vectors[0] == unit("text 0")
    assert vectors[-4] == unit(texts[-4])
    assert vectors[-3] == unit("?")
    assert vectors[-1] == unit("東京\0")
    assert [len(call.texts) for call in server.calls] == [1, remote.AT_ONCE, 6]
    assert {(call.path, call.key) for call in server.calls} == {("/v1/embeddings", KEY)}
    assert server.calls[1].body.keys() == {"model", "input", "encoding_format"}


async def test_voyage_is_told_what_is_a_question_and_what_is_not(server: EmbeddingServer, home: Path):
    async with open_embedder(config(server, "voyage"), home) as embedder:
        assert embedder
        await embedder.embed(["a passage"])
        await embedder.embed(["a question"], query=True)
    assert [call.body["input_type"] for call in server.calls] == ["document", "document", "query"]


async def test_the_model_and_the_dimension_make_another_fingerprint_and_the_address_does_not(home: Path):
    async def wide(_: Call) -> Reply:
        return Reply(dimension=32)

    prints: list[str] = []
    async with embedding_server() as one, embedding_server() as other, embedding_server() as third:
        third.rule = wide
        for settings in (config(one), config(other), config(one, embedding_model="m-2"), config(third)):
            async with open_embedder(settings, home) as embedder:
                assert embedder
                prints.append(embedder.fingerprint)
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("missing", "argument"),
    [
        ({"embedding_model": None}, "ATLAS_EMBEDDING_MODEL"),
        ({"embedding_url": None}, "ATLAS_EMBEDDING_URL"),
        ({"embedding_url": SecretStr("not an address")}, "ATLAS_EMBEDDING_URL"),
        ({"embedding_url": SecretStr("ftp://there/v1")}, "ATLAS_EMBEDDING_URL"),
        ({"embedding_key": None, "embedder": "voyage"}, "ATLAS_EMBEDDING_KEY"),
    ],
)
async def test_what_is_missing_is_named_and_nobody_is_asked(
    server: EmbeddingServer, home: Path, missing: dict[str, Any], argument: str
):
    failure = await refused(config(server).model_copy(update=missing), home, ConfigurationError)
    assert failure.argument == argument
    assert failure.next_step
    assert not server.calls


@pytest.mark.parametrize(
    ("status", "of_texts", "step"),
    [(401, False, "ATLAS_EMBEDDING_KEY"), (404, False, "ATLAS_EMBEDDING_URL"), (400, True, None), (500, True, None)],
)
async def test_a_refusal_is_told_with_what_the_server_says_and_not_repeated(
    server: EmbeddingServer, home: Path, status: int, of_texts: bool, step: str | None
):
    server.rule = refuse_with(status, "the model\nis not here.")
    failure = await refused(config(server), home)
    assert failure.message == f"it answered with status {status}: the model is not here."
    assert failure.of_texts is of_texts
    assert (step or "") in (failure.next_step or "")
    assert len(server.calls) == 1


async def test_what_a_server_quotes_of_a_text_is_in_no_error(server: EmbeddingServer, home: Path):
    async with open_embedder(config(server), home) as embedder:
        assert embedder
        for status in (400, 403, 500):
            server.rule = refuse_with(status, "cannot embed 'the marker'")
            with pytest.raises(EmbedderFailed) as caught:
                await embedder.embed(["the marker"])
            assert caught.value.message == f"it answered with status {status}."


async def test_a_server_that_asks_to_wait_is_asked_again_when_it_said(server: EmbeddingServer, home: Path):
    async def rule(call: Call) -> Reply:
        busy = len(server.calls) < 3
        return await refuse_with(429, retry_after="0.01")(call) if busy else Reply()

    server.rule = rule
    async with open_embedder(config(server), home) as embedder:
        assert embedder
    assert len(server.calls) == 3


async def test_a_wait_beyond_the_deadline_is_told_at_once(server: EmbeddingServer, home: Path):
    server.rule = refuse_with(429, "slow down", retry_after="3600")
    failure = await refused(config(server), home)
    assert (failure.retry_after, len(server.calls)) == (3600, 1)
    assert "429" in failure.message


async def test_a_caller_with_little_time_is_not_kept_waiting_by_retries(server: EmbeddingServer, home: Path):
    async with open_embedder(config(server), home) as embedder:
        assert embedder
        server.rule = refuse_with(503, retry_after="600")
        with pytest.raises(EmbedderFailed, match="503"), anyio.fail_after(60):
            await embedder.embed(["a question"], query=True)


async def test_a_server_that_hangs_is_left_at_the_deadline(
    server: EmbeddingServer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    async def hang(_: Call) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    server.rule = hang
    monkeypatch.setattr(remote, "CALL_SECONDS", 1.0)
    assert "did not answer within 1 s" in (await refused(config(server), home)).message
    assert len(server.calls) <= 1, "it is not asked again"


async def test_a_server_that_speaks_slowly_for_ever_is_left_at_the_deadline(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    async def trickle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
            with anyio.move_on_after(60):
                while True:
                    await stream.send(b" ")
                    await anyio.sleep(0.01)

    monkeypatch.setattr(remote, "CALL_SECONDS", 0.5)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, trickle)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        failure = await refused(
            StoresConfig(
                embedder="openai-compatible",
                embedding_url=SecretStr(f"http://127.0.0.1:{port}/v1"),
                embedding_model="m-1",
            ),
            home,
        )
        tasks.cancel_scope.cancel()
    assert "did not answer within" in failure.message


async def test_a_connection_that_closed_before_any_answer_is_tried_again(server: EmbeddingServer, home: Path):
    """What a server does with a connection that it kept for a while."""
    closed = 0

    async def close_the_first(stream: anyio.abc.SocketStream) -> None:
        nonlocal closed
        async with stream:
            await stream.receive()
            closed += 1
            if closed > 1:
                content = json.dumps({"data": [{"index": 0, "embedding": [3, 4]}]}).encode()
                await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content))

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, close_the_first)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        url = SecretStr(f"http://127.0.0.1:{port}/v1")
        async with open_embedder(
            config(server, embedding_model="m").model_copy(update={"embedding_url": url}), home
        ) as e:
            assert e
            assert e.dimension == 2
        tasks.cancel_scope.cancel()
    assert closed == 2


async def test_a_server_that_is_not_there_is_told_within_the_deadline(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "CALL_SECONDS", 2.0)
    nobody = StoresConfig(
        embedder="openai-compatible", embedding_url=SecretStr("http://127.0.0.1:9/v1"), embedding_model="m"
    )
    assert "cannot be reached" in (await refused(nobody, home)).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}', "not finite"),
        (b'{"data": [{"index": 0, "embedding": [null, 1.0]}]}', "not finite"),
        (b'{"data": [{"index": 0, "embedding": [0, 0]}]}', "without a direction"),
        (b'{"data": [{"index": 0, "embedding": []}]}', "no 1 vectors"),
        (b'{"data": [{"index": 0, "embedding": "AAAA"}]}', "no numbers"),
        (b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}", "no numbers"),
        (b'{"data": []}', "no 1 vectors"),
        (b'{"data": [{}]}', "did not answer with vectors"),
        (b"{}", "did not answer with vectors"),
        (b"[]", "did not answer with vectors"),
        (b"<html>hello</html>", "did not answer with vectors"),
        (b"[" * 100_000, "did not answer with vectors"),
        (b"", "did not answer with vectors"),
    ],
)
async def test_an_answer_without_good_vectors_is_a_failure(
    server: EmbeddingServer, home: Path, content: bytes, said: str
):
    server.rule = answer(content)
    assert said in (await refused(config(server), home)).message


async def test_an_endless_answer_is_cut_off(server: EmbeddingServer, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "MOST_BYTES", 100_000)
    server.rule = answer(b" " * 200_000)
    assert "more than 100,000 bytes" in (await refused(config(server), home)).message


async def test_another_dimension_than_before_is_a_failure(server: EmbeddingServer, home: Path):
    async def wider(_: Call) -> Reply:
        return Reply(dimension=32)

    async with open_embedder(config(server), home) as embedder:
        assert embedder
        server.rule = wider
        with pytest.raises(EmbedderFailed, match="have 32 numbers now, and had 16") as caught:
            await embedder.embed(["a text"])
        assert not caught.value.of_texts
        assert embedder.dimension == 16


async def test_a_redirect_is_not_followed(server: EmbeddingServer, home: Path):
    async with embedding_server() as elsewhere:
        server.rule = refuse_with(307, location=f"{elsewhere.url}/embeddings")
        assert "307" in (await refused(config(server), home)).message
        assert not elsewhere.calls


async def test_a_call_can_be_cancelled_while_the_server_hangs(server: EmbeddingServer, home: Path):
    async def hang(_: Call) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with open_embedder(config(server), home) as embedder:
        assert embedder
        server.rule = hang
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(embedder.embed, ["a text"])
                await server.asked(times=2)
                tasks.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["openai", "local", "HASH", ""])
async def test_an_embedder_nobody_knows_is_refused_with_those_there_are(home: Path, name: str):
    with pytest.raises(ConfigurationError, match="openai-compatible or voyage"):
        async with open_embedder(StoresConfig(embedder=name), home):
            pytest.fail("it opened")
