"""MLflow's judges on a sample of what ends: their verdicts on the traces, their calls counted, their cost shown."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import MissingKey, UnknownModel
from atlas_mcp.model.caller import Caller
from atlas_mcp.settings import load_settings
from atlas_mcp.store.record import open_record
from atlas_mcp.watch.charging import Charging
from atlas_mcp.watch.ledger import Ledger
from atlas_mcp.watch.quality import judge as judging
from atlas_mcp.watch.quality.judge import Judge, JudgeState, Means, save, today

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.atlas import Atlas
    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_uncarried")]
DEADLINE = 180
ME = Caller(id="me")


@pytest.fixture
def _judged(monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel) -> None:
    """Everything is judged at once, by the scripted model, whose price somebody said."""
    monkeypatch.setenv("ATLAS_JUDGE_MODEL", "openai:scripted-1")
    monkeypatch.setenv("ATLAS_JUDGE_SHARE", "1")
    monkeypatch.setenv("ATLAS_PRICES", '{"openai:scripted-1": {"input_per_million": 1e6, "output_per_million": 1e6}}')
    monkeypatch.setenv("OPENAI_API_KEY", "sk-judge-0123456789abcdef")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setattr(judging, "GATHER_SECONDS", 0.0)
    verdict = {"json": {"result": "no", "rationale": "It is about soup."}}
    scripted_model.on(lambda request: "relevan" in json.dumps(request).lower(), verdict)
    scripted_model.on(lambda request: True, {"json": {"result": "yes", "rationale": "Nothing in it harms."}})


def notes_in(home: Path) -> list[dict[str, Any]]:
    files = sorted((home / "spool").rglob("*.spans"), key=lambda path: path.name)
    rows = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["note"] for row in rows if row.get("kind") == "feedback" and row["note"]["source"] == "judge"]


async def until_judged(atlas: Atlas, home: Path, count: int) -> list[dict[str, Any]]:
    tracing = atlas._keeper.tracing  # pyright: ignore[reportPrivateUsage]
    assert tracing is not None
    with anyio.fail_after(DEADLINE):
        while True:
            await anyio.to_thread.run_sync(tracing.flush, 10.0)
            if len(found := notes_in(home)) >= count or today(home).error:
                return found
            await anyio.sleep(0.2)


@pytest.mark.usefixtures("_judged")
async def test_a_judges_verdicts_become_feedback_and_their_cost_is_shown(
    home: Path, scripted_model: ScriptedModel
) -> None:
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        reply = await atlas.chat(me, "librarian", "What makes the tides?")
        notes = await until_judged(atlas, home, 2)
        with anyio.fail_after(DEADLINE):  # the last verdict is told before what it cost takes its reservation's place
            while (status := await atlas.status(me)).spending is None or status.spending.usd != today(home).usd:
                pass
        rooms = {room.name: room for room in status.rooms}
    assert today(home).error is None
    assert {note["name"]: note["value"] for note in notes} == {"relevance_to_query": False, "safety": True}
    assert {note["rationale"] for note in notes} == {"It is about soup.", "Nothing in it harms."}
    assert {note["source_id"] for note in notes} == {"openai:scripted-1"}
    (trace,) = {note["trace_id"] for note in notes}
    assert reply.trace_id in (None, trace)
    state = today(home)
    assert (state.calls, state.failed) == (2, 0)
    assert state.input_tokens > 0
    assert state.usd == state.input_tokens + state.output_tokens  # a dollar a token
    assert status.spending is not None
    assert status.spending.usd == state.usd  # the caller's, whose chat with the offline model cost nothing
    assert f"2 of 200 calls today, ${state.usd:.2f}" in rooms["judge"].text
    assert "sk-judge" not in json.dumps(notes)


@pytest.mark.usefixtures("_judged")
async def test_an_answer_is_not_judged_for_which_its_callers_day_has_no_room(
    home: Path, monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ATLAS_DAILY_USD", "5")  # a judge's verdict costs hundreds here
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        await atlas.chat(me, "librarian", "What makes the tides?")
        with anyio.fail_after(DEADLINE):
            while True:
                if "is not judged" in caplog.text:
                    break
                await anyio.sleep(0.05)
        status = await atlas.status(me)
    (room,) = [room for room in status.rooms if room.name == "judge"]
    assert "1 answers were not judged since the start: their callers' days had no room" in room.text
    assert status.spending is not None
    assert status.spending.usd == 0
    assert scripted_model.requests == []


@pytest.mark.usefixtures("_judged")
async def test_a_model_that_fails_is_said_and_the_work_goes_on(home: Path, scripted_model: ScriptedModel) -> None:
    scripted_model.reset()
    scripted_model.on(lambda request: True, {"status": 401, "message": "no such key"})
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        await atlas.chat(me, "librarian", "What makes the tides?")
        assert await until_judged(atlas, home, 1) == []
        (room,) = [room for room in (await atlas.status(me)).rooms if room.name == "judge"]
    assert room.health == "warning"
    assert room.next_step


@pytest.mark.usefixtures("_judged")
async def test_a_judge_that_is_being_asked_does_not_outlive_the_server(
    home: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.hold()
    with anyio.fail_after(DEADLINE):
        async with open_atlas(load_settings()) as atlas:
            await atlas.chat(atlas.local_caller(), "librarian", "What makes the tides?")
            await anyio.to_thread.run_sync(scripted_model.wait_for_calls, 1, DEADLINE)
        await anyio.to_thread.run_sync(scripted_model.wait_for_dropped, 1, DEADLINE)
    assert today(home).calls == 2  # what was begun counts
    assert notes_in(home) == []


class _Counting(Judge):
    """Counts what would be asked, and asks nobody; `over` is set when nothing waits any more."""

    asked: int = 0

    async def _judge(self, some: Any, charging: Any) -> None:
        await super()._judge(some, charging)
        if not self._waiting:
            self.over.set()

    async def _ask(self, order: Any, hear: Any) -> None:
        self.asked += len(order.pieces)

    @cached_property
    def over(self) -> anyio.Event:
        return anyio.Event()


def a_judge(home: Path, *, share: float = 1.0, calls: int = 10) -> _Counting:
    from atlas_mcp.store.home import open_home
    from atlas_mcp.store.locks import Locks

    means = Means("openai:m", "openai:/m", {}, lambda _, __: None)
    locks = Locks(open_home(home).locks)
    return _Counting(home, locks, means, share=share, calls_a_day=calls, gather_seconds=0)


def traces(count: int) -> list[str]:
    return [f"tr-{n * 0x9E3779B97F4A7C15 % (1 << 128):032x}" for n in range(1, count + 1)]


async def test_no_more_is_asked_than_the_days_calls_allow_over_all_processes(home: Path) -> None:
    first, second = a_judge(home, calls=10), a_judge(home, calls=10)
    async with open_record(home) as record, anyio.create_task_group() as tasks:
        for one in (first, second):
            for trace in traces(4):
                one.consider(ME, "run", trace, "What?", "That.")
            tasks.start_soon(one.work, Charging(record, Ledger()))
        with anyio.fail_after(DEADLINE):
            await first.over.wait()
            await second.over.wait()
        tasks.cancel_scope.cancel()
    assert first.asked + second.asked == 5
    assert today(home).calls == 10


async def test_a_new_day_has_calls_of_its_own(home: Path) -> None:
    a_judge(home)
    save(home, JudgeState(day="2001-01-01", calls=200))
    assert today(home).calls == 0


async def test_the_share_is_kept_and_the_same_traces_are_chosen_everywhere(home: Path) -> None:
    def chosen() -> list[str]:
        one = a_judge(home, share=0.1)
        for trace in traces(2_000):
            one.consider(ME, "run", trace, "What?", "That.")
        return [chosen.piece.key for chosen in one._waiting]  # pyright: ignore[reportPrivateUsage]

    first = chosen()
    assert 140 <= len(first) <= 200  # at most 200 wait
    assert chosen() == first


async def test_an_answer_that_is_empty_is_not_judged(home: Path) -> None:
    one = a_judge(home)
    one.consider(ME, "run", traces(1)[0], "What?", "  ")
    assert not one._waiting  # pyright: ignore[reportPrivateUsage]


async def test_without_a_key_or_with_an_unknown_model_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_JUDGE_MODEL", "openai:gpt-5")
    with pytest.raises(MissingKey):
        async with open_atlas(load_settings()):
            pass
    monkeypatch.setenv("ATLAS_JUDGE_MODEL", "nobody:m")
    with pytest.raises(UnknownModel) as refused:
        async with open_atlas(load_settings()):
            pass
    assert refused.value.argument == "ATLAS_JUDGE_MODEL"


async def test_off_by_default(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        assert "judge" not in {room.name for room in (await atlas.status(atlas.local_caller())).rooms}
    assert not (home / "judge.json").exists()
