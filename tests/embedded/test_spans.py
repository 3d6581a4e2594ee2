from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from letta_client import APIStatusError
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from atlas_mcp.embedded import spans
from tests.embedded.conftest import say

pytestmark = pytest.mark.anyio


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(spans, "_TRACER", provider.get_tracer("atlas"))
    yield kept
    provider.shutdown()


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {
        span.name: span for span in exporter.get_finished_spans() if span.name.startswith(("agent", "chat", "exec"))
    }


async def test_a_turn_its_model_calls_and_its_tools_are_one_tree_of_spans(
    letta: Any, agent: Any, exporter: InMemorySpanExporter
) -> None:
    await say(letta, agent.id, 'call memory_insert {"label": "nope", "new_string": "x"}')
    spans = named(exporter)
    turn, chat, tool = spans["agent ada"], spans["chat test/scripted"], spans["execute_tool memory_insert"]
    parents = {span.parent and span.parent.span_id for span in (chat, tool)}
    assert parents == {turn.context and turn.context.span_id}
    kinds = [(span.attributes or {})["mlflow.spanType"] for span in (turn, chat, tool)]
    assert kinds == ["AGENT", "CHAT_MODEL", "TOOL"]
    attributes: Any = chat.attributes
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.request.model"] == "test/scripted"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == (5, 3)
    assert json.loads(attributes["mlflow.spanInputs"])[0]["role"] == "system"
    assert "tools said" in attributes["mlflow.spanOutputs"]
    assert [span.status.status_code.name for span in (turn, chat, tool)] == ["OK", "OK", "ERROR"]


async def test_a_failed_model_is_an_error_in_every_span_around_it(
    letta: Any, agent: Any, exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(APIStatusError):
        await say(letta, agent.id, "fail 429")
    spans = named(exporter)
    assert {span.status.status_code.name for span in spans.values()} == {"ERROR"}
    assert "429" in (spans["chat test/scripted"].status.description or "")


async def test_long_inputs_are_bounded_and_still_json(letta: Any, agent: Any, exporter: InMemorySpanExporter) -> None:
    await say(letta, agent.id, "x" * 100_000)
    for span in named(exporter).values():
        text: Any = (span.attributes or {})["mlflow.spanInputs"]
        assert len(text) < 20_000
        assert isinstance(json.loads(text), str)
