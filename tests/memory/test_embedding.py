"""Vectors made in the background: each passage's own, whatever embedder, process or text fails meanwhile."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from atlas_mcp.memory import embedding as room
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.embedding import Embedding
from atlas_mcp.memory.fingerprints import KEPT_DAYS, kept
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import derived, vector
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage
from tests.memory.embedding_server import Call, EmbeddingServer, Reply, embedding_server, good, refuse_with, vector_of
from tests.memory.test_minilm import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "START_SECONDS", 0)
    monkeypatch.setattr(room, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(room, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.01)


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingServer]:
    async with embedding_server() as started:
        yield started


def remote(server: EmbeddingServer, model: str = "m-1") -> StoresConfig:
    return StoresConfig(embedder="openai-compatible", embedding_url=SecretStr(server.url), embedding_model=model)


@asynccontextmanager
async def at_work(record: Record, home: Path, config: StoresConfig) -> AsyncIterator[Embedding]:
    """An embedder at work, in two minutes at most."""
    embedding = Embedding(record, Locks(home / "locks"), home, config)
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(embedding.work)
            yield embedding
            tasks.cancel_scope.cancel()


async def until(true: Callable[[], Any]) -> None:
    """Look again and again; the deadline is that of `at_work`."""
    while not true():  # noqa: ASYNC110 - what it looks at tells nobody when it changes
        await anyio.sleep(0.005)


async def share(record: Record, name: str, text: str, caller: Caller = ME) -> None:
    await Documents(caller, record).share(name, text)


async def vectors(record: Record) -> dict[tuple[str, str], Any]:
    """Every vector by fingerprint and by its passage's text."""
    async with record.read() as db:
        rows = await db.execute(
            select(vector.c.fingerprint, passage.c.text, vector.c.data).join(passage, vector.c.passage == passage.c.id)
        )
        return {(row.fingerprint, row.text): np.frombuffer(row.data, "<f4") for row in rows}


def unit(text: str, model: str = "m-1", dimension: int = 16) -> Any:
    made = np.array(vector_of(text, model, dimension))
    return pytest.approx(made / np.linalg.norm(made), abs=1e-6)


def not_a_number(call: Call) -> Reply:
    data = [{"index": n, "embedding": [float("nan")] * 16} for n in range(len(call.texts))]
    return Reply(content=json.dumps({"data": data}).encode())


def own(embedding: Embedding) -> str:
    assert embedding.own
    return embedding.own.fingerprint


async def test_what_was_and_what_is_written_gets_its_own_vector_and_so_does_a_question(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")
    await share(record, "theirs", "They begin in May.", OTHER)
    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        await share(record, "tea", "Assam grows tea.")
        await embedding.settled()
        mine = own(embedding)
        assert await vectors(record) == {
            (mine, "We begin in spring."): unit("plan\nWe begin in spring."),
            (mine, "They begin in May."): unit("theirs\nThey begin in May."),
            (mine, "Assam grows tea."): unit("tea\nAssam grows tea."),
        }
        asked = await embedding.query("who grows tea?")
        assert asked
        assert asked.fingerprint == mine
        assert asked.vector == unit("who grows tea?")
        assert (embedding.ranks, embedding.trouble, len(embedding.aside)) == (True, None, 0)
        before = len(server.calls)
        again = await embedding.query("who grows tea?")
        assert again
        assert len(server.calls) == before, "a question that was asked before costs nothing"


async def test_what_is_written_is_noticed_without_being_told(record: Record, home: Path, server: EmbeddingServer):
    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        for text in ("We begin in spring.", "We begin in autumn."):  # the second may get the number of the first
            await share(record, "plan", text)
            await server.asked(lambda call, text=text: call.texts == [f"plan\n{text}"])
        await embedding.settled()
        assert list(await vectors(record)) == [(own(embedding), "We begin in autumn.")]


async def test_more_than_is_looked_through_at_once_is_not_missed(
    record: Record, home: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "_NEWEST", 2)
    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        go_on = anyio.Event()

        async def wait(_: Call) -> Reply:
            await go_on.wait()
            return Reply()

        server.rule = wait
        await share(record, "first", "text")
        await server.asked(lambda call: call.texts == ["first\ntext"])
        for n in range(9):
            await share(record, f"d{n}", f"text {n}")
        go_on.set()
        await embedding.settled()
        assert len(await vectors(record)) == 10


async def test_a_text_that_was_replaced_meanwhile_never_gets_the_vector_of_the_old_one(
    record: Record, home: Path, server: EmbeddingServer
):
    replaced = anyio.Event()

    async def rule(call: Call) -> Reply:
        if any("spring" in text for text in call.texts):
            await replaced.wait()
        return Reply()

    server.rule = rule
    await share(record, "plan", "We begin in spring.")
    async with at_work(record, home, remote(server)) as embedding:
        await server.asked(lambda call: any("spring" in text for text in call.texts))
        await share(record, "plan", "We begin in autumn.")
        replaced.set()
        await embedding.settled()
        assert await vectors(record) == {(own(embedding), "We begin in autumn."): unit("plan\nWe begin in autumn.")}


async def test_what_is_deleted_takes_its_vector_along(record: Record, home: Path, server: EmbeddingServer):
    made = await Documents(ME, record).share("plan", "We begin in spring.")
    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        assert await vectors(record)
        await Documents(ME, record).delete_document(made.id)
        async with record.read() as db:
            assert (await db.execute(select(vector))).all() == []


async def test_a_text_that_the_embedder_cannot_take_keeps_no_other_from_its_vector(
    record: Record, home: Path, server: EmbeddingServer
):
    async def rule(call: Call) -> Reply:
        if any("poison" in text for text in call.texts):
            return not_a_number(call)
        if any("endless" in text for text in call.texts):
            return await refuse_with(400, "too long")(call)
        return Reply()

    server.rule = rule
    for n in range(9):
        await share(record, f"d{n}", {2: "a poison", 7: "an endless text"}.get(n, f"text {n}"))
    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        assert {text for _, text in await vectors(record)} == {f"text {n}" for n in range(9) if n not in {2, 7}}
        assert len(embedding.aside) == 2
        assert embedding.trouble is None
        assert await embedding.query("a question"), "it is complete but for what cannot be had"
        before = len(server.calls)
        await embedding.settled()
        assert len(server.calls) == before, "it is not asked for again"


async def test_an_embedder_that_gives_nothing_but_nan_stores_nothing_and_is_used_again_when_it_is_mended(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")

    async def broken(call: Call) -> Reply:
        return not_a_number(call)

    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        server.rule = broken
        await share(record, "tea", "Assam grows tea.")
        await until(lambda: embedding.trouble)
        assert "not finite" in (embedding.trouble or "")
        assert await embedding.query("who grows tea?") is None
        assert {text for _, text in await vectors(record)} == {"We begin in spring."}
        server.rule = good
        await embedding.settled()
        assert (embedding.trouble, len(embedding.aside)) == (None, 0)
        assert {text for _, text in await vectors(record)} == {"We begin in spring.", "Assam grows tea."}


async def test_a_refused_key_is_told_with_what_to_do(record: Record, home: Path, server: EmbeddingServer):
    server.rule = refuse_with(401, "bad key")
    async with at_work(record, home, remote(server)) as embedding:
        await until(lambda: embedding.problem)
        assert embedding.problem == "it answered with status 401: bad key."
        assert embedding.next_step == "Check ATLAS_EMBEDDING_KEY."
        assert await embedding.query("who?") is None


async def test_a_question_does_not_wait_for_an_embedder_that_hangs_and_the_next_does_not_ask_it(
    record: Record, home: Path, server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(room, "QUERY_SECONDS", 0.2)

    async def hang(_: Call) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        monkeypatch.setattr(room, "FIRST_PAUSE", 60.0)
        monkeypatch.setattr(room, "LONGEST_PAUSE", 60.0)
        embedding._breaker = room._Breaker()
        server.rule = hang
        assert await embedding.query("one") is None
        assert "within 0.2 s" in (embedding.trouble or "")
        assert await embedding.query("two") is None
        assert "two" not in server.texts


async def test_an_embedder_that_changes_its_dimension_is_another_and_its_vectors_never_meet(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")

    async def wider(_: Call) -> Reply:
        return Reply(dimension=32)

    async with at_work(record, home, remote(server)) as embedding:
        await embedding.settled()
        narrow = own(embedding)
        server.rule = wider
        assert await embedding.query("when?") is None, "the first question finds it out"
        await until(lambda: embedding.own and own(embedding) != narrow)
        await embedding.settled()
        wide = own(embedding)
        asked = await embedding.query("when?")
        assert asked
        assert (asked.fingerprint, len(asked.vector)) == (wide, 32)
        assert {(made_by, len(v)) for (made_by, _), v in (await vectors(record)).items()} == {(narrow, 16), (wide, 32)}


async def test_a_change_of_the_embedder_answers_by_the_one_before_until_the_new_one_is_complete(
    record: Record, home: Path, server: EmbeddingServer
):
    for n in range(3):
        await share(record, f"d{n}", f"text {n}")
    async with at_work(record, home, remote(server, "old")) as embedding:
        await embedding.settled()
        old = own(embedding)
    go_on = anyio.Event()

    async def rule(call: Call) -> Reply:
        if call.body["model"] == "new" and "d0\ntext 0" in call.texts:
            await go_on.wait()
        return Reply()

    server.rule = rule
    async with at_work(record, home, remote(server, "new")) as embedding:
        await server.asked(lambda call: call.body["model"] == "new" and "d0\ntext 0" in call.texts)
        meanwhile = await embedding.query("when?")
        assert meanwhile
        assert (meanwhile.fingerprint, embedding.ranks) == (old, True)
        assert meanwhile.vector == unit("when?", "old")
        go_on.set()
        await embedding.settled()
        new = own(embedding)
        asked = await embedding.query("when?")
        assert asked
        assert asked.fingerprint == new
        assert asked.vector == unit("when?", "new")
        async with record.read() as db:
            assert {(one.fingerprint, one.complete) for one in await kept(db)} == {(old, True), (new, True)}
    server.calls.clear()
    async with at_work(record, home, remote(server, "old")) as embedding:
        await embedding.settled()
        assert own(embedding) == old
        assert not [text for text in server.texts if text.startswith("d")], "going back costs nothing"


@pytest.mark.parametrize("still_there", [True, False])
async def test_files_answer_until_the_server_that_takes_their_place_has_made_all_vectors(
    record: Record, home: Path, server: EmbeddingServer, still_there: bool
):
    await share(record, "plan", "tea from assam")
    files = write(home / "tiny", "safetensors")
    async with at_work(record, home, StoresConfig(embedder=f"local:{files}")) as embedding:
        await embedding.settled()
        local = own(embedding)
    if not still_there:
        (files / "model.safetensors").unlink()
    go_on = anyio.Event()

    async def rule(call: Call) -> Reply:
        if "plan\ntea from assam" in call.texts:
            await go_on.wait()
        return Reply()

    server.rule = rule
    async with at_work(record, home, remote(server)) as embedding:
        await server.asked(lambda call: "plan\ntea from assam" in call.texts)
        asked = await embedding.query("tea")
        assert (asked and asked.fingerprint) == (local if still_there else None)
        go_on.set()
        await embedding.settled()
        asked = await embedding.query("tea")
        assert asked
        assert asked.fingerprint == own(embedding) != local


async def test_the_first_embedder_answers_no_question_before_every_passage_has_its_vector(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")
    go_on = anyio.Event()

    async def rule(call: Call) -> Reply:
        if "plan\nWe begin in spring." in call.texts:
            await go_on.wait()
        return Reply()

    server.rule = rule
    async with at_work(record, home, remote(server)) as embedding:
        await server.asked(lambda call: "plan\nWe begin in spring." in call.texts)
        assert await embedding.query("when?") is None
        go_on.set()
        await embedding.settled()
        assert await embedding.query("when?")


async def test_two_that_share_a_record_make_each_vector_once_and_both_answer(
    record: Record, home: Path, server: EmbeddingServer
):
    for n in range(70):
        await share(record, f"d{n}", f"text {n}")
    async with at_work(record, home, remote(server)) as one, at_work(record, home, remote(server)) as other:
        await until(lambda: one.own and other.own)
        await until(lambda: {f"d{n}\ntext {n}" for n in range(70)} <= set(server.texts))
        for each in (one, other):
            while not (each.ranks and await each.query("when?")):  # noqa: ASYNC110 - as a search asks
                await anyio.sleep(0.005)
        assert len(await vectors(record)) == 70
    made = [text for text in server.texts if text.startswith("d")]
    assert len(made) == len(set(made)) == 70


async def test_the_vectors_of_an_embedder_that_was_not_used_for_long_are_deleted_once_another_is_complete(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")
    prints: list[str] = []
    for model in ("oldest", "old"):
        async with at_work(record, home, remote(server, model)) as embedding:
            await embedding.settled()
            prints.append(own(embedding))
    async with record.write() as db:
        long_ago = datetime.now(UTC) - timedelta(days=KEPT_DAYS, hours=1)
        await db.execute(update(derived).where(derived.c.name == f"embedder:{prints[0]}").values(at=long_ago))
    async with at_work(record, home, StoresConfig(embedder="none")):
        pass
    assert {made_by for made_by, _ in await vectors(record)} == set(prints), "who makes none deletes none"
    async with at_work(record, home, remote(server, "new")) as embedding:
        await embedding.settled()
        prints.append(own(embedding))
    assert {made_by for made_by, _ in await vectors(record)} == set(prints[1:])
    async with record.read() as db:
        assert {one.fingerprint for one in await kept(db)} == set(prints[1:])


async def test_without_an_embedder_questions_get_no_vector_and_nothing_is_wrong(record: Record, home: Path):
    for name in ("none", "auto"):
        async with at_work(record, home, StoresConfig(embedder=name)) as embedding:
            await anyio.lowlevel.checkpoint()
            assert await embedding.query("when?") is None
            assert (embedding.own, embedding.ranks, embedding.trouble) == (None, False, None)


async def test_vectors_by_counting_are_kept_and_are_not_ranked_by(record: Record, home: Path):
    await share(record, "plan", "We begin in spring.")
    async with at_work(record, home, StoresConfig(embedder="hash")) as embedding:
        await embedding.settled()
        assert len(await vectors(record)) == 1
        assert await embedding.query("when?")
        assert not embedding.ranks


async def test_the_work_ends_when_it_is_cancelled_while_the_embedder_hangs(
    record: Record, home: Path, server: EmbeddingServer
):
    await share(record, "plan", "We begin in spring.")

    async def hang(call: Call) -> Reply:
        if "plan\nWe begin in spring." in call.texts:
            await anyio.sleep_forever()
        return Reply()

    server.rule = hang
    async with at_work(record, home, remote(server)):
        await server.asked(times=2)
    assert await vectors(record) == {}
