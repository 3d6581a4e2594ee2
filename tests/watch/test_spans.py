"""Spans: what is recorded, what is hidden, and that nothing ever raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from pydantic import BaseModel, SecretStr

from atlas_mcp.watch.payload import REDACTED, render
from atlas_mcp.watch.spans import current_trace_id, failed, outputs, session, span, usage
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import Tracing, open_tracing

pytestmark = pytest.mark.anyio


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


def recorded(tracing: Tracing) -> dict[str, dict[str, Any]]:
    """The spans on disk by name."""
    assert tracing.flush(60)
    rows = [row for file in waiting(tracing.home / "spool") for row in read(file.path).spans]
    return {row["name"]: dict(row) for row in rows}


def on_disk(tracing: Tracing) -> str:
    assert tracing.flush(60)
    return "".join(file.path.read_text() for file in waiting(tracing.home / "spool"))


def test_an_ended_span_tells_what_went_in_and_out_and_that_it_was_well(home: Path) -> None:
    with open_tracing(home) as tracing:
        with span("chat", "AGENT", {"message": "hello"}, session__id="conv-1") as opened:
            outputs(opened, {"reply": "hi"})
        row = recorded(tracing)["chat"]
    assert row["status"] == 1
    assert row["end"] >= row["start"]
    assert json.loads(row["attributes"]["mlflow.spanInputs"]) == {"message": "hello"}
    assert json.loads(row["attributes"]["mlflow.spanOutputs"]) == {"reply": "hi"}
    assert row["attributes"]["mlflow.spanType"] == "AGENT"
    assert row["attributes"]["session.id"] == "conv-1"


def test_only_the_root_names_its_trace_and_children_belong_to_it(home: Path) -> None:
    with open_tracing(home) as tracing:
        with span("outer"), span("inner", "TOOL"):
            trace_id = current_trace_id()
        rows = recorded(tracing)
    assert rows["outer"]["attributes"]["mlflow.traceTag.mlflow.traceName"] == "outer"
    assert "mlflow.traceTag.mlflow.traceName" not in rows["inner"]["attributes"]
    assert rows["inner"]["parent"] == rows["outer"]["span"]
    assert trace_id == f"tr-{rows['outer']['trace']}"


def test_an_error_is_recorded_with_its_type_and_text_and_reaches_the_caller(home: Path) -> None:
    with open_tracing(home) as tracing:
        with pytest.raises(ValueError, match="broken"), span("work"):
            raise ValueError("broken, password=hunter2222")
        row = recorded(tracing)["work"]
    assert (row["status"], row["said"]) == (2, f"ValueError: broken, password={REDACTED}")
    assert row["events"][0][0] == "exception"
    assert "hunter2222" not in json.dumps(row)


async def test_cancelled_work_is_recorded_as_cancelled(home: Path) -> None:
    with open_tracing(home) as tracing:
        with anyio.CancelScope() as scope:
            with span("slow"):
                scope.cancel()
                await anyio.sleep_forever()
        row = recorded(tracing)["slow"]
    assert (row["status"], row["said"]) == (2, "cancelled")


async def test_tasks_and_threads_keep_the_span_they_were_started_in(home: Path) -> None:
    async def child(name: str) -> None:
        with span(name):
            await anyio.to_thread.run_sync(lambda: outputs(trace.get_current_span(), name))

    with open_tracing(home) as tracing:
        with span("parent"):
            async with anyio.create_task_group() as group:
                group.start_soon(child, "a")
                group.start_soon(child, "b")
        rows = recorded(tracing)
    assert {rows[name]["parent"] for name in "ab"} == {rows["parent"]["span"]}
    assert rows["b"]["attributes"]["mlflow.spanOutputs"] == '"b"'


def test_work_that_answers_with_an_error_can_be_marked_as_failed(home: Path) -> None:
    with open_tracing(home) as tracing:
        with span("tool") as opened:
            failed(opened, "no such file")
        assert recorded(tracing)["tool"]["said"] == "no such file"


def test_a_model_call_records_tokens_model_and_cost_and_no_cost_where_none_is_known(home: Path) -> None:
    with open_tracing(home) as tracing:
        with span("priced", "CHAT_MODEL") as opened:
            usage(opened, model="anthropic/claude-x", input_tokens=30, output_tokens=10, cost_usd=0.4)
        with span("free", "CHAT_MODEL") as opened:
            usage(opened, model="local", input_tokens=3, output_tokens=1)
        rows = recorded(tracing)
    priced = rows["priced"]["attributes"]
    assert priced["mlflow.llm.model"] == "claude-x"
    assert priced["mlflow.llm.provider"] == "anthropic"
    assert json.loads(priced["mlflow.chat.tokenUsage"])["total_tokens"] == 40
    assert json.loads(priced["mlflow.llm.cost"])["total_cost"] == 0.4
    assert "mlflow.llm.cost" not in rows["free"]["attributes"]


def test_the_conversation_is_named_on_the_root_from_anywhere_below(home: Path) -> None:
    with open_tracing(home) as tracing:
        with span("call"), span("turn"):
            session("conv-7")
        assert recorded(tracing)["call"]["attributes"]["session.id"] == "conv-7"


def test_nothing_that_is_given_can_make_a_span_raise(home: Path) -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    hostile: list[Any] = [
        Hostile(), {"deep": Hostile()}, {Hostile(): 1}, circle, "x" * 10_000_000, b"\xff", 10**400,
        float("nan"), "\ud800 \0", object, open, dict.fromkeys(range(5000), "y" * 1000), ValueError(Hostile()),
    ]  # fmt: skip
    with open_tracing(home) as tracing:
        for n, value in enumerate(hostile):
            with span(f"s{n}", "TOOL", value, some=value, **{"session.id": value}) as opened:
                outputs(opened, value)
                failed(opened, "x" * 100_000)
        rows = recorded(tracing)
        assert tracing.counts.lost == 0
    assert len(rows) == len(hostile)
    assert max(len(json.dumps(row)) for row in rows.values()) < 150_000


def test_an_error_without_text_is_still_the_callers_error(home: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

    with open_tracing(home) as tracing:
        with pytest.raises(Mute), span("work"):
            raise Mute
        assert recorded(tracing)["work"]["said"] == "Mute: <unreadable Mute: RuntimeError>"


def test_what_is_cut_says_how_much_is_missing() -> None:
    assert "[+9,992,000 characters]" in render("x" * 10_000_000)
    assert json.loads(render(list(range(1000))))[-1] == "…[+800 items]"


def test_secrets_never_reach_the_disk(home: Path) -> None:
    class Login(BaseModel):
        user: str = "anna"
        access_token: str = "model-field-secret"
        pin: SecretStr = SecretStr("secret-str-secret")

    secrets = {
        "api_key": "plain-key-secret",
        "Authorization": "header-secret",
        "nested": [{"clientSecret": "nested-secret"}, Login()],
        "text": "use sk-ant-abcdefghijklmnop1234 and Bearer abcDEF123456 or https://u:urlsecret@host/",
        "json": '{"password": "json-text-secret"}',
        "straddling": "y" * 7_990 + " sk-straddlingsecret1234567890",
        "input_tokens": 12,
    }
    forbidden = [
        "plain-key", "header-secret", "nested-secret", "model-field", "secret-str", "abcdefghijklmnop", "abcDEF",
        "urlsecret", "json-text", "straddlingsecret",
    ]  # fmt: skip
    with open_tracing(home) as tracing:
        with span("login", "TOOL", secrets, api_key="attribute-secret") as opened:
            outputs(opened, secrets)
        with trace.get_tracer("someone else").start_as_current_span("foreign") as foreign:
            foreign.set_attribute("gen_ai.prompt", "my key is sk-foreignsecret1234567890")
        written = on_disk(tracing)
    assert [word for word in [*forbidden, "attribute-secret", "foreignsecret"] if word in written] == []
    assert "anna" in written
    assert '\\"input_tokens\\": 12' in written


def test_without_tracing_a_span_is_nothing_and_hides_nothing() -> None:
    with span("nothing", "TOOL", Hostile()) as opened:
        outputs(opened, Hostile())
        assert current_trace_id() is None
    with pytest.raises(KeyError), span("nothing"):
        raise KeyError("mine")
