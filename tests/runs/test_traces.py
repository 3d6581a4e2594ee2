"""Each attempt at a run is a span with a status, in the trace of the call that asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode, format_trace_id

from atlas_mcp.errors import ModelFailed, Waiting
from atlas_mcp.model.question import Asking
from atlas_mcp.runs import RunOutcome, rows, runner
from atlas_mcp.runs.context import RunContext
from atlas_mcp.watch._provider import join_provider
from atlas_mcp.watch.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.runs import Runs

pytestmark = pytest.mark.anyio
DEADLINE = 60


class Taken(list[Any]):
    """The spans that ended."""

    def get_finished_spans(self) -> list[Any]:
        """All so far."""
        return list(self)


@pytest.fixture
def spans() -> Iterator[Taken]:
    """What is recorded while the test runs."""
    taken = Taken()
    with join_provider(taken.append):
        yield taken


async def executor(run: RunContext) -> RunOutcome:
    with trace.get_tracer("atlas").start_as_current_span("a turn"):
        match run.input:
            case {"do": "fail"}:
                raise ModelFailed("no answer.")
            case {"do": "ask"}:
                asking = Asking(asked_by="a", kind="text", text="Why?", words="the reason", safe="no reason")
                with span("a step"):
                    return RunOutcome(reply=await run.ask(asking, key="why"))
            case {"do": "stay"}:
                await run.emit("a", "note", "staying")
                await anyio.sleep_forever()
            case _:
                return RunOutcome(reply="fine")
    raise AssertionError


async def test_a_run_belongs_to_the_trace_of_its_call_and_has_a_status(opening: Any, me: Caller, spans: Taken) -> None:
    ids: dict[str, str] = {}
    with trace.get_tracer("atlas").start_as_current_span("the call") as call:
        async with opening(executor) as runs:
            with anyio.fail_after(DEADLINE):
                for do in ("work", "fail", "stay"):
                    ids[do] = await runs.submit(me, "turn", f"to {do}", {"do": do})
                await runs.get(me, ids["stay"], since=2, wait_seconds=DEADLINE)
                await runs.cancel(me, ids["stay"])
                for run_id in ids.values():
                    _ = [event async for event in runs.follow(run_id)]
            shown = {do: (await runs.get(me, run_id)).trace_id for do, run_id in ids.items()}
    roots = {s.attributes["atlas.run"]: s for s in spans.get_finished_spans() if s.name == "run turn" and s.attributes}
    expected = {
        "work": (StatusCode.OK, None),
        "fail": (StatusCode.ERROR, "no answer."),
        "stay": (StatusCode.ERROR, "cancelled"),
    }
    for do, run_id in ids.items():
        root = roots[run_id]
        assert root.parent is not None
        assert root.parent.span_id == call.get_span_context().span_id
        assert root.context is not None
        assert root.context.trace_id == call.get_span_context().trace_id
        assert f"tr-{format_trace_id(root.context.trace_id)}" == shown[do]
        assert (root.status.status_code, root.status.description) == expected[do]
        attributes = dict(root.attributes or {})
        assert (attributes["mlflow.spanType"], attributes["atlas.run"]) == ("WORKFLOW", run_id)
        turns = [s for s in spans.get_finished_spans() if s.name == "a turn" and s.parent == root.context]
        assert len(turns) == 1


async def test_an_attempt_that_waits_for_an_answer_did_not_fail(opening: Any, me: Caller, spans: Taken) -> None:
    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "to ask", {"do": "ask"})
        with anyio.fail_after(DEADLINE):
            while (run := await runs.get(me, run_id, since=99, wait_seconds=0.1)).status != "awaiting_answer":
                pass
            await runs.answer(me, run.run_id, "because")
            _ = [event async for event in runs.follow(run_id)]
    attempts = [s for s in spans.get_finished_spans() if s.name == "run turn"]
    assert [s.status.status_code for s in attempts] == [StatusCode.OK, StatusCode.OK]
    assert ['"awaiting_answer"' in str((s.attributes or {})["mlflow.spanOutputs"]) for s in attempts] == [True, False]
    steps = [s for s in spans.get_finished_spans() if s.name == "a step"]
    assert [s.status.status_code for s in steps] == [StatusCode.OK, StatusCode.OK]


async def test_an_attempt_whose_run_waits_is_not_stopped_while_it_winds_down(
    opening: Any, me: Caller, spans: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    not_ours = rows.not_ours

    async def counted(*given: Any) -> list[str]:
        nonlocal looks
        found = await not_ours(*given)
        looks += bool(found)
        return found

    async def leaves_slowly(run: RunContext) -> RunOutcome:
        try:
            with span("a step"):
                return await executor(run)
        except Waiting:
            with span("winding down"):
                while looks < 2:
                    await anyio.lowlevel.checkpoint()
            raise

    monkeypatch.setattr(rows, "not_ours", counted)
    monkeypatch.setattr(runner, "GRACE", DEADLINE)  # however slow the machine that looks twice
    async with opening(leaves_slowly) as runs:
        run_id = await runs.submit(me, "turn", "to ask", {"do": "ask"})
        with anyio.fail_after(DEADLINE):
            while not (done := [s for s in spans.get_finished_spans() if s.name == "run turn"]):
                await runs.get(me, run_id, since=99, wait_seconds=0.1)
    assert looks >= 2, "the watch saw that the run is nobody's while its executor was at work"
    codes = {s.name: s.status.status_code for s in spans.get_finished_spans()}
    assert codes["a step"] == codes["winding down"] == codes["run turn"] == StatusCode.OK
    assert '"awaiting_answer"' in str(done[0].attributes["mlflow.spanOutputs"])


async def test_an_attempt_whose_run_waits_did_not_fail_whatever_others_of_it_met_with(
    opening: Any, me: Caller, spans: Taken
) -> None:
    async def stumbles(run: RunContext) -> RunOutcome:
        try:
            return await executor(run)
        except Waiting:
            raise ModelFailed("no answer.") from None

    async with opening(stumbles) as runs:
        await until_it_waits(runs, me, await runs.submit(me, "turn", "to ask", {"do": "ask"}))
    [attempt] = [s for s in spans.get_finished_spans() if s.name == "run turn"]
    assert attempt.status.status_code == StatusCode.OK
    assert '"awaiting_answer"' in str(attempt.attributes["mlflow.spanOutputs"])


async def test_an_attempt_whose_trace_is_noted_when_its_run_waits_already_did_not_fail(
    opening: Any, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_trace = RunContext.set_trace_id

    async def late(run: RunContext, trace_id: str) -> None:
        await until_it_waits(runs, me, run.run_id)
        await set_trace(run, trace_id)

    monkeypatch.setattr(RunContext, "set_trace_id", late)
    async with opening(executor, providers=[]) as runs:
        run_id = await runs.submit(me, "turn", "to ask", {"do": "ask"}, needs=["openai"])  # by one that records nothing
    taken = Taken()
    with join_provider(taken.append):
        async with opening(executor, providers=["openai"]) as runs:
            await until_it_waits(runs, me, run_id)
    [attempt] = [s for s in taken.get_finished_spans() if s.name == "run turn"]
    assert attempt.status.status_code == StatusCode.OK
    assert '"awaiting_answer"' in str(attempt.attributes["mlflow.spanOutputs"])


async def until_it_waits(runs: Runs, me: Caller, run_id: str) -> None:
    with anyio.fail_after(DEADLINE):
        while (await runs.get(me, run_id, since=99, wait_seconds=0.1)).status != "awaiting_answer":
            pass
