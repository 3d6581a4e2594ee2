"""The scripted model: it answers as its file says, and leaves the rest to another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from atlas_mcp.errors import ConfigurationError, ModelFailed, UnknownModel
from atlas_mcp.model.sections import section
from atlas_mcp.models.chat import Models
from atlas_mcp.models.config import ModelConfig

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.messages import BaseMessage

pytestmark = pytest.mark.anyio
LONG_ENOUGH = 1.0
"""Seconds in which a busy machine, too, gets to where the reply is taken that never comes."""
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}


def asked(agent: str, text: str) -> list[BaseMessage]:
    return [SystemMessage(f"You are {agent}: one of several."), HumanMessage(text)]


def typed(agent: str, title: str, *parts: str) -> list[BaseMessage]:
    return asked(agent, "\n\n".join([section("goal", "g"), *parts, section("answer_schema", "{}", title=title)]))


async def model(tmp_path: Path, *rules: dict[str, Any], **more: Any) -> Any:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"rules": rules, **more}), encoding="utf-8")
    models = Models(ModelConfig(model=f"scripted:{path}"))
    models.check()
    [handle] = models.handles()
    assert models.cost(handle, 1_000, 1_000) == 0
    return await models.chat(handle)


async def test_whom_a_rule_names_it_answers_for_that_part_and_the_offline_model_answers_the_rest(
    tmp_path: Path,
) -> None:
    one = await model(tmp_path, {"agent": "ann", "part": "decision", "replies": [{"answer": {"action": "ask"}}]})
    answer = await one.ainvoke(typed("ann", "Decision", section("workers", "none")))
    assert json.loads(answer.text) == {"action": "ask"}
    other = await one.ainvoke(typed("bob", "Decision", section("workers", "none")))
    assert json.loads(other.text)["action"] in {"ask", "without"}
    assert "reason" in json.loads(other.text)


async def test_replies_are_given_one_after_another_to_each_agent_and_then_no_more(tmp_path: Path) -> None:
    one = await model(tmp_path, {"replies": [{"text": "first"}, {"text": "second"}]})
    said = [(await one.ainvoke(asked(who, "Hello"))).text for who in ("ann", "ann", "bob", "ann")]
    assert said[:3] == ["first", "second", "first"]
    assert "offline model" in said[3]


async def test_what_is_always_answered_is_answered_again_and_again(tmp_path: Path) -> None:
    one = await model(tmp_path, {"always": True, "says": "name", "replies": [{"text": "a"}, {"text": "b"}]})
    said = [(await one.ainvoke(asked("ann", "Your name?"))).text for _ in range(4)]
    assert said == ["a", "b", "b", "b"]
    assert "offline model" in (await one.ainvoke(asked("ann", "Your age?"))).text


@pytest.mark.parametrize(
    ("title", "parts", "part"),
    [
        ("Findings", [section("materials", "none")], "findings"),
        ("Findings", [], "merging"),
        ("Draft", [], "write"),
        ("Draft", [section("draft", "{}")], "edit"),
        ("Draft", [section("draft", "{}"), section("feedback", "shorter")], "revise"),
        ("Proposals", [], "learning"),
        ("Verdict", [], "verdict"),
    ],
)
async def test_the_part_of_the_work_is_told_from_the_question(
    tmp_path: Path, title: str, parts: list[str], part: str
) -> None:
    one = await model(tmp_path, {"part": part, "replies": [{"text": "it is this part"}]})
    assert (await one.ainvoke(typed("ann", title, *parts))).text == "it is this part"


async def test_tools_are_called_and_what_follows_their_results_is_the_next_reply(tmp_path: Path) -> None:
    call = {"tools": [{"tool": "look", "arguments": {"at": "this"}}]}
    one = (await model(tmp_path, {"replies": [call, {"text": "I looked."}]})).bind_tools([TOOL])
    began = asked("ann", "Look.")
    called = await one.ainvoke(began)
    assert [(c["name"], c["args"]) for c in called.tool_calls] == [("look", {"at": "this"})]
    streamed = [chunk async for chunk in one.astream([*began, called, ToolMessage("seen", tool_call_id="x")])]
    assert "".join(chunk.text for chunk in streamed) == "I looked."


@pytest.mark.parametrize(
    ("error", "says", "transient"),
    [
        ("rate limit", "too many requests", True),
        ("outage", "the provider failed (HTTP 503)", True),
        ("timeout", "no answer in time", True),
        ("bad key", "the key was refused", False),
        ("empty", "the answer was empty", True),
    ],
)
async def test_an_error_of_the_script_is_told_as_a_providers(
    tmp_path: Path, error: str, says: str, transient: bool
) -> None:
    one = await model(tmp_path, {"replies": [{"error": error}, {"text": "well again"}]})
    with pytest.raises(ModelFailed) as failed:
        await one.ainvoke(asked("ann", "Hello"))
    assert says in str(failed.value)
    assert failed.value.transient is transient
    assert (await one.ainvoke(asked("ann", "Hello"))).text == "well again"


async def test_who_is_held_answers_nothing_until_it_is_cancelled(tmp_path: Path) -> None:
    one = await model(tmp_path, {"replies": [{"hold": True}]})
    with anyio.move_on_after(LONG_ENOUGH) as waited:
        await one.ainvoke(asked("ann", "Hello"))
    assert waited.cancelled_caught
    assert (await one.ainvoke(asked("ann", "Hello"))).text


async def test_who_is_slow_answers_as_it_would_have_and_not_before(tmp_path: Path) -> None:
    slow = {"replies": [{"seconds": 600}, {"seconds": 0.01}]}
    one = await model(tmp_path, slow, {"says": "now", "replies": [{"text": "at last"}]})
    with anyio.move_on_after(LONG_ENOUGH) as waited:
        await one.ainvoke(asked("ann", "Hello"))
    assert waited.cancelled_caught
    assert (await one.ainvoke(asked("ann", "And now?"))).text == "at last"


async def test_the_same_calls_in_the_same_order_get_the_same_answers(tmp_path: Path) -> None:
    rule = {"replies": [{"tools": [{"tool": "look"}]}, {"text": "done"}]}
    told: list[list[AIMessage]] = []
    for _ in range(2):
        one = (await model(tmp_path, rule)).bind_tools([TOOL])
        told.append([await one.ainvoke(asked("ann", "Hello")) for _ in range(3)])
    plain = [[(m.content, m.tool_calls, m.usage_metadata) for m in messages] for messages in told]
    assert plain[0] == plain[1]


async def test_faults_can_be_put_before_another_model(tmp_path: Path, scripted_model: Any) -> None:
    scripted_model.script(["from the real one"])
    path = tmp_path / "script.json"
    rules = [{"replies": [{"error": "rate limit"}]}]
    path.write_text(json.dumps({"rules": rules, "otherwise": "openai:scripted-1"}), encoding="utf-8")
    config = ModelConfig(model=f"scripted:{path}", base_url=scripted_model.url, keys={"OPENAI_API_KEY": "k"})  # pyright: ignore[reportArgumentType]
    one = await Models(config).chat(f"scripted/{path}")
    with pytest.raises(ModelFailed):
        await one.ainvoke(asked("ann", "Hello"))
    assert scripted_model.calls == 0
    assert (await one.ainvoke(asked("ann", "Hello"))).text == "from the real one"
    chunks = [c async for c in one.bind_tools([TOOL]).astream(asked("ann", "@@tool look {}"))]
    assert [c["name"] for chunk in chunks for c in chunk.tool_calls if c["name"]] == ["look"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ('{"rules": [{"replies": []}]}', "rules.0.replies"),
        ('{"rules": [{"replies": [{"text": "a", "hold": true}]}]}', "exactly one of text, answer, tools, error"),
        ('{"rules": [{"replies": [{"error": "fire"}]}]}', "'rate limit'"),
        ('{"rulez": []}', "rulez"),
        ("{", "line 1"),
    ],
)
def test_a_script_that_cannot_be_used_is_said_before_anything_is_asked(
    tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "script.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"the script .*{path.name}") as wrong:
        Models(ModelConfig(model=f"scripted:{path}")).check()
    assert says in str(wrong.value)


def test_a_file_must_be_named() -> None:
    with pytest.raises(UnknownModel):
        Models(ModelConfig(model="scripted:")).check()


def test_a_script_judges_nobody_for_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="MLflow does not reach"):
        Models(ModelConfig(model=f"scripted:{path}")).outside(f"scripted/{path}")
