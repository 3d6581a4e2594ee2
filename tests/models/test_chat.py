"""Configured models, asked through their chain over real HTTP."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import SecretStr

from atlas_mcp.errors import MissingKey, MissingPackage, ModelFailed, UnknownModel
from atlas_mcp.models.chain import HANDLE_KEY
from atlas_mcp.models.chat import OFFLINE_NOTE, Models
from atlas_mcp.models.config import ModelConfig
from tests.scripted_model import ScriptedModel, tool_names

pytestmark = pytest.mark.anyio

KEY = "sk-test-0123456789"


def models(
    url: str = "", *, model: str | None = "openai:first", keys: dict[str, str] | None = None, **more: Any
) -> Models:
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": url} if keys is None else keys
    return Models(
        ModelConfig(
            model=model, keys={k: SecretStr(v) for k, v in given.items()}, **{"retries": 0, "timeout": 10, **more}
        )
    )


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def ask(chosen: Models, text: str = "hello", handle: str = "openai/first") -> str:
    return (await (await chosen.chat(handle)).ainvoke(text)).text


async def test_a_model_answers_and_says_which_one_it_was(scripted_model: ScriptedModel):
    scripted_model.script(["good day"])
    answer = await (await models(scripted_model.url).chat("openai/first")).ainvoke("hello")
    assert answer.text == "good day"
    assert answer.response_metadata[HANDLE_KEY] == "openai/first"
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] > 0
    assert scripted_model.last["model"] == "first"
    assert scripted_model.keys == [KEY]


async def test_an_answer_streams_word_by_word_with_usage(scripted_model: ScriptedModel):
    scripted_model.script(["one two three"])
    chunks = [c async for c in (await models(scripted_model.url).chat("openai/first")).astream("count")]
    assert [c.text for c in chunks if c.text] == ["one ", "two ", "three"]
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.usage_metadata["input_tokens"] > 0
    assert whole.response_metadata[HANDLE_KEY] == "openai/first"


async def test_an_agent_calls_tools_through_the_chain(scripted_model: ScriptedModel):
    scripted_model.script([{"tool": "add", "args": {"a": 2, "b": 3}}, "it is 5"])
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    result = await create_agent(chat, [add]).ainvoke({"messages": [HumanMessage("2 + 3?")]})
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["messages"][2].content == "5"
    assert result["messages"][-1].text == "it is 5"
    assert tool_names(scripted_model.requests[0]) == ["add"]


async def test_an_agent_streams_each_word_once(scripted_model: ScriptedModel):
    scripted_model.script(["alpha beta gamma"])
    agent = create_agent(await models(scripted_model.url).chat("openai/first"), [])
    stream = agent.astream({"messages": [HumanMessage("go")]}, stream_mode="messages")
    assert (
        "".join([message.text async for message, _ in stream if isinstance(message, AIMessage)]) == "alpha beta gamma"
    )


@pytest.mark.parametrize("failure", [
    {"status": 500}, {"status": 429}, {"status": 401}, {"status": 404}, {"raw": "<html>not json</html>"}, {"raw": "{}"},
    {"raw": '{"choices": []}'}, {"raw": 'data: {"choices": []}\n\ndata: [DONE]\n\n'},
])  # fmt: skip
async def test_the_next_model_answers_when_one_fails(scripted_model: ScriptedModel, failure: dict[str, Any]):
    scripted_model.on(lambda request: request["model"] == "first", failure)
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    answer = await chat.ainvoke("hello")
    assert answer.text == "ok: hello"
    assert answer.response_metadata[HANDLE_KEY] == "openai/second"
    streamed = [c.text async for c in chat.astream("hello")]
    assert "".join(streamed) == "ok: hello"
    assert [r["model"] for r in scripted_model.requests] == ["first", "second"] * 2


async def test_an_answer_without_any_answer_in_it_is_a_failure_that_says_so(scripted_model: ScriptedModel):
    scripted_model.script([{"raw": '{"choices": []}'}, {"raw": 'data: {"choices": []}\n\ndata: [DONE]\n\n'}])
    chat = await models(scripted_model.url).chat("openai/first")
    with pytest.raises(ModelFailed, match=r"^openai:first: the answer was empty") as failed:
        await chat.ainvoke("hello")
    assert failed.value.transient
    with pytest.raises(ModelFailed, match=r"^openai:first: the answer was empty"):
        [chunk async for chunk in chat.astream("hello")]


async def test_an_empty_text_is_an_answer(scripted_model: ScriptedModel):
    scripted_model.on("hello", {"text": ""})
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    assert (await chat.ainvoke("hello")).text == ""
    streamed = [chunk async for chunk in chat.astream("hello")]
    assert "".join(chunk.text for chunk in streamed) == ""
    assert [r["model"] for r in scripted_model.requests] == ["first"] * 2


async def test_a_bad_request_of_ours_goes_to_no_second_model(scripted_model: ScriptedModel):
    scripted_model.script([{"status": 400, "message": "messages must alternate"}])
    chosen = models(scripted_model.url, fallbacks=("openai:second",))
    with pytest.raises(ModelFailed, match=r"refused as invalid \(HTTP 400\).*messages must alternate") as failed:
        await ask(chosen)
    assert not failed.value.transient
    assert scripted_model.calls == 1


async def test_a_stream_that_broke_after_its_first_word_is_never_continued_by_another_model(
    scripted_model: ScriptedModel,
):
    scripted_model.script([{"text": "one two three", "break_after": 3}])
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    got: list[str] = []
    with pytest.raises(ModelFailed) as failed:  # noqa: PT012  # what arrived before the break is looked at too
        async for chunk in chat.astream("count"):
            got.append(chunk.text)
    assert "".join(got).strip() == "one two"
    assert failed.value.transient
    assert scripted_model.calls == 1


async def test_a_stream_that_broke_before_its_first_word_goes_to_the_next_model(scripted_model: ScriptedModel):
    scripted_model.script([{"text": "one two", "break_after": 1}, "three four"])
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    assert "".join([c.text async for c in chat.astream("count")]) == "three four"


async def test_every_failure_of_a_chain_is_told_without_the_key(scripted_model: ScriptedModel):
    refusal = {"status": 401, "message": f"Incorrect API key provided: {KEY}. See https://example.com"}
    scripted_model.script([refusal, {"status": 503, "message": "overloaded"}])
    with pytest.raises(ModelFailed) as failed:
        await ask(models(scripted_model.url, fallbacks=("openai:second",)))
    text = str(failed.value)
    assert "openai:first: the key was refused (HTTP 401)" in text
    assert "openai:second: the provider failed (HTTP 503) (overloaded)" in text
    assert "Check OPENAI_API_KEY." in text
    assert KEY not in text


async def test_a_provider_that_nobody_runs_is_said_to_be_out_of_reach():
    with pytest.raises(ModelFailed, match=r"cannot be reached.*OPENAI_BASE_URL") as failed:
        await ask(models("http://127.0.0.1:9"))
    assert failed.value.transient


async def test_a_provider_that_stays_silent_is_given_up_after_the_timeout(scripted_model: ScriptedModel):
    scripted_model.hold()
    with anyio.fail_after(60), pytest.raises(ModelFailed, match="no answer in time"):
        await ask(models(scripted_model.url, timeout=0.2))


async def test_passing_failures_are_tried_again_in_one_layer_only(scripted_model: ScriptedModel):
    scripted_model.script([{"status": 500}, {"status": 500}, "at last"])
    assert await ask(models(scripted_model.url, retries=2)) == "at last"
    assert scripted_model.calls == 3


async def test_a_cancelled_call_is_cancelled_and_not_taken_for_a_failure(scripted_model: ScriptedModel):
    scripted_model.hold()
    chat = await models(scripted_model.url, fallbacks=("openai:second",)).chat("openai/first")
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(chat.ainvoke, "hello")
            await scripted_model.arrived(1)
            group.cancel_scope.cancel()
    assert scripted_model.calls == 1


async def test_the_same_model_object_is_given_again(scripted_model: ScriptedModel):
    chosen = models(scripted_model.url)
    assert await chosen.chat("openai/first") is await chosen.chat("openai/first")


async def test_a_server_on_this_machine_needs_no_key(scripted_model: ScriptedModel):
    chosen = models(keys={}, base_url=scripted_model.url)
    chosen.check()
    assert await ask(chosen) == "ok: hello"
    assert scripted_model.keys == ["none"]


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("anthropic:claude-sonnet-5", "ANTHROPIC_API_KEY"),
        ("openai:gpt-5", "OPENAI_API_KEY"),
        ("google:gemini-2.5-pro", "GOOGLE_API_KEY"),
    ],
)
async def test_a_missing_key_names_its_variable_before_anything_is_called(model: str, variable: str):
    chosen = models(keys={}, model=model)
    assert not chosen.offline
    with pytest.raises(MissingKey, match=variable):
        chosen.check()
    with pytest.raises(MissingKey, match=variable):
        await chosen.chat(chosen.handle("worker", "routine"))


async def test_a_missing_key_of_a_fallback_is_an_error_too():
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        models("http://127.0.0.1:9", fallbacks=("anthropic:claude-haiku-4-5",)).check()


async def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "langchain_ollama", None)
    with pytest.raises(MissingPackage, match="pip install langchain-ollama"):
        models(keys={}, model="ollama:llama3.2:3b").check()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt-5", "Write openai:gpt-5"),
        ("anthropic/claude-sonnet-5", "Write anthropic:claude-sonnet-5"),
        ("antropic:claude-sonnet-5", "Did you mean anthropic:claude-sonnet-5"),
        ("mystery:one", "Providers are anthropic, openai, google, ollama"),
        ("openai:", "provider:name is expected"),
        ("", "provider:name is expected"),
    ],
)
async def test_a_wrong_name_says_what_would_be_right(name: str, said: str):
    with pytest.raises(UnknownModel, match=said):
        models(model=None, worker=name or " ").check()


async def test_an_unknown_handle_is_a_lookup_error_that_lists_those_there_are():
    chosen = models("http://127.0.0.1:9")
    with pytest.raises(LookupError, match="There are: openai/first"):
        await chosen.chat("openai/other")
    with pytest.raises(LookupError):
        await chosen.chat("atlas/offline")


def handles(chosen: Models, cases: Sequence[tuple[Any, ...]]) -> list[str]:
    return [chosen.handle(*case) for case in cases]


async def test_models_are_chosen_by_own_name_then_rater_then_level_then_tier():
    chosen = models(
        "http://127.0.0.1:9",
        supervisor="openai:leader",
        rater="anthropic:judge",
        levels={"critical": "openai:best"},
        own=("ollama:llama3.2:3b",),
    )
    assert handles(chosen, [("supervisor", "routine"), ("worker", "routine"), ("worker", "critical")]) == [
        "openai/leader",
        "openai/first",
        "openai/best",
    ]
    assert chosen.handle("rater", "critical") == "anthropic/judge"
    assert chosen.handle("worker", "routine", "ollama:llama3.2:3b") == "ollama/llama3.2:3b"
    assert chosen.providers() == ["openai", "anthropic", "ollama"]
    assert "ollama/llama3.2:3b" in chosen.handles()


async def test_a_tier_without_a_model_is_an_error_and_never_the_offline_model():
    chosen = models("http://127.0.0.1:9", model=None, supervisor="openai:leader")
    assert not chosen.offline
    with pytest.raises(UnknownModel, match="Set ATLAS_MODEL"):
        chosen.check()
    with pytest.raises(UnknownModel):
        chosen.handle("worker", "routine")


async def test_only_with_no_model_at_all_the_offline_model_answers():
    chosen = Models(ModelConfig(keys={"OPENAI_API_KEY": SecretStr(KEY)}))
    chosen.check()
    assert chosen.offline
    assert chosen.handles() == ["atlas/offline"] == [chosen.handle("rater", "critical")]
    assert chosen.providers() == []
    assert "ATLAS_MODEL=" in OFFLINE_NOTE
    assert chosen.cost("atlas/offline", 1000, 1000) == 0


async def test_the_cost_is_known_for_listed_models_and_none_for_others():
    chosen = models("http://127.0.0.1:9")
    assert chosen.cost("openai/gpt-5-mini", 1_000_000, 500_000) == pytest.approx(1.25)
    assert chosen.cost("anthropic/claude-haiku-4-5-20251001", 0, 1_000_000) == pytest.approx(5)
    assert chosen.cost("openai/nobody-knows", 10, 10) is None


async def test_secrets_stand_in_no_representation():
    assert KEY not in repr(ModelConfig(keys={"OPENAI_API_KEY": SecretStr(KEY)}))
