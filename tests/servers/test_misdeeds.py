"""Whatever another server does, it costs the call one clear refusal, and the next call works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.servers.conftest import entry, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("do", "n", "says"),
    [
        ("broken", 0, "what it answered is no JSON, or no message of MCP"),
        ("not-an-answer", 0, "what it answers is not what MCP prescribes: content"),
        ("big", 50, "its answer has 50,000,0"),
        ("fail", 0, "bad says that it failed: the disk is full"),
        ("refuse", 0, "it answered with an error: not today"),
    ],
)
async def test_a_bad_answer_costs_its_call_alone(tmp_path: Path, do: str, n: int, says: str) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        pid = await house.call("bad_act", do="pid")
        assert says in await house.fails("bad_act", do=do, n=n)
        assert await house.call("bad_act", do="pid") == pid  # the same session went on


@pytest.mark.parametrize(
    ("do", "n", "says"),
    [
        ("crash", 0, "was lost during the call: it ended with code 3"),
        ("flood", 0, "it sent more than 1,000 messages a second without an end"),
        ("big-without-id", 5, "it sent a message of 5,000,"),
    ],
)
async def test_a_server_that_cannot_go_on_is_started_again(tmp_path: Path, do: str, n: int, says: str) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        pid = await house.call("bad_act", do="pid")
        refused = await house.fails("bad_act", do=do, n=n)
        assert says in refused
        assert "Whether it was done is not known" in refused
        assert await house.call("bad_act", do="pid") != pid  # waited for the new one


async def test_the_other_servers_and_a_call_beside_are_not_disturbed_by_a_crash(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry(), "good": entry()}) as house:
        pid = await house.call("good_act", do="pid")
        await house.fails("bad_act", do="crash")
        assert await house.call("good_act", do="pid") == pid
        assert house.room("good").health == "ok"


async def test_a_server_that_keeps_crashing_is_told_and_its_tools_are_offered_no_more(tmp_path: Path) -> None:
    count = tmp_path / "starts"
    crashing = {"command": "sh", "args": ["-c", f"echo started >> {count}; exit 7"]}
    async with opened(tmp_path, {"bad": crashing, "good": entry()}) as house:
        room = house.room("bad")
        assert (room.health, "it ended with code 7" in room.text) == ("warning", True)
        assert "server-bad.log" in str(room.next_step)
        await house.until(lambda: count.read_text().count("started") >= 2)  # tried again by itself
        assert house.names == {"good_act"}


async def test_a_call_that_hangs_is_given_up_and_its_cancellation_passed_on(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with opened(tmp_path, {"slow": {**entry(SEEN=str(seen)), "timeout": 3_000}}) as house:
        refused = await house.fails("slow_act", do="hang")
        assert "slow was silent for 3 s, and the call was given up" in refused
        await house.until(lambda: seen.read_text() == "cancelled")
        assert await house.call("slow_act", do="well") == "did well"


async def test_a_cancelled_call_is_cancelled_in_the_server(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with opened(tmp_path, {"slow": entry(SEEN=str(seen))}) as house:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: house.call("slow_act", do="hang"))
            await house.until(lambda: seen.exists() and seen.read_text() == "hangs")
            tasks.cancel_scope.cancel()
        await house.until(lambda: seen.read_text() == "cancelled")


async def test_a_server_that_answers_nothing_any_more_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas_mcp.reach.servers.link.ANSWER_SECONDS", 2)
    async with opened(tmp_path, {"slow": {**entry(), "timeout": 3_000}}) as house:
        pid = await house.call("slow_act", do="pid")
        await house.fails("slow_act", do="freeze")
        await house.until(lambda: house.room("slow").health == "warning")
        assert "did not say within" in house.room("slow").text
        assert await house.call("slow_act", do="pid") != pid


async def test_progress_keeps_a_slow_call_alive(tmp_path: Path) -> None:
    async with opened(tmp_path, {"slow": {**entry(), "timeout": 3_000}}) as house:
        assert await house.call("slow_act", do="progress", n=8) == "done at last"  # four seconds, told of every half


async def test_progress_keeps_no_call_alive_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas_mcp.reach.servers.calling.HARD_SECONDS", 4)
    async with opened(tmp_path, {"slow": {**entry(), "timeout": 3_000}}) as house:
        assert "took 4 s, and the call was given up" in await house.fails("slow_act", do="progress", n=600)


async def test_noise_on_the_output_is_passed_over_and_the_error_stream_kept_for_the_user(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        assert await house.call("bad_act", do="noise") == "after the noise"
        log = tmp_path / "home" / "logs" / "server-bad.log"
        await house.until(lambda: "an error of its own" in log.read_text())
        assert "not a message on its output: 'Listening on port 1234'" in log.read_text()
        assert log.stat().st_mode & 0o077 == 0


async def test_a_long_answer_is_cut_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        text = await house.call("bad_act", do="long", n=10_000)
    assert len(text) < 20_000
    assert text.endswith("(Cut off here: the answer has 50,000 characters, and 19,500 are given.)")


async def test_what_is_not_seen_does_not_reach_the_agent(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        assert await house.call("bad_act", do="invisible") == "plaintext"


async def test_an_answer_is_kept_under_the_name_that_the_agent_is_given(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        await house.call("bad_act", do="well")
        await house.call("bad_act", do="well")
    (name,) = house.kept  # the same text has the same name
    assert name.startswith("bad_act#")
    assert house.kept[name] == "did well"


async def test_a_server_is_given_no_models_answers_and_none_of_our_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with opened(tmp_path, {"bad": entry(OWN="yes")}) as house:
        assert await house.call("bad_act", do="ask") == "was told: Sampling not supported"
        variables = (await house.call("bad_act", do="environment")).splitlines()
    assert "OWN" in variables
    assert not [name for name in variables if name.startswith(("OPENAI", "ATLAS"))]


async def test_arguments_are_checked_before_the_server_sees_them(tmp_path: Path) -> None:
    async with opened(tmp_path, {"bad": entry()}) as house:
        assert await house.fails("bad_act") == "bad_act: 'do' is a required property. Nothing was called."
        assert "n: 'two' is not of type 'integer'" in await house.fails("bad_act", do="well", n="two")


async def test_atlas_itself_is_not_one_of_its_servers(tmp_path: Path) -> None:
    async with opened(tmp_path, {"me": entry(CALLED="atlas")}) as house:
        assert house.names == set()
        assert "it is ATLAS itself" in house.room("me").text


def _tools(folder: Path, *tools: Any) -> str:
    path = folder / "tools.json"
    path.write_text(json.dumps(list(tools)))
    return str(path)


def _tool(name: str, description: str = "It helps.", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}, **more}


async def test_tools_that_cannot_be_offered_are_left_out_with_the_reason(tmp_path: Path) -> None:
    doubled = {"x" * n: {"allOf": [{"$ref": f"#/$defs/{'x' * (n + 1)}"}] * 2} for n in range(1, 40)}
    tools = _tools(
        tmp_path,
        _tool("fine"),
        _tool("a/b"),
        _tool("a.b"),
        _tool("with space"),
        _tool("x" * 70),
        _tool("no_object") | {"inputSchema": {"type": "object", "properties": {"a": {"type": "nothing"}}}},
        _tool("elsewhere") | {"inputSchema": {"type": "object", "$ref": "http://169.254.169.254/schema"}},
        _tool("doubling") | {"inputSchema": {"type": "object", "$ref": "#/$defs/x", "$defs": doubled}},
        _tool("huge", "x" * 70_000),
    )
    async with opened(tmp_path, {"bad": entry(TOOLS=tools)}) as house:
        assert house.names == {"bad_act", "bad_fine", "bad_a_b"}
        text = house.room("bad").text
    for why in (
        "'a.b' is left out: another tool of it is called bad_a_b too",
        "'with space' is left out: its name is not one of",
        "has 74 characters, and names may have 64",
        "'no_object' is left out: its schema is none",
        "refers to 'http://169.254.169.254/schema', and nothing is looked up elsewhere",
        "'doubling' is left out: its schema has more than 20,000 parts",
        "'huge' is left out: what it says of itself has 70,",
    ):
        assert why in text


async def test_a_schema_with_an_endless_expression_holds_nobody_up(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    tools = _tools(tmp_path, _tool("slow") | {"inputSchema": schema})
    async with opened(tmp_path, {"bad": entry(TOOLS=tools)}) as house:
        assert "called slow with" in await house.call("bad_slow", a="a" * 60 + "!")


async def test_an_answer_that_is_not_what_its_own_schema_says_is_not_used(tmp_path: Path) -> None:
    tools = _tools(tmp_path, _tool("lies") | {"outputSchema": {"type": "object", "required": ["n"]}})
    async with opened(tmp_path, {"bad": entry(TOOLS=tools)}) as house:
        assert "what it answered is not what its own schema says: it has no structured" in await house.fails("bad_lies")


async def test_marks_are_what_annotations_say_at_worst(tmp_path: Path) -> None:
    tools = _tools(
        tmp_path,
        _tool("reads", annotations={"readOnlyHint": True, "destructiveHint": True}),
        _tool("adds", annotations={"destructiveHint": False}),
        _tool("unmarked"),
    )
    async with opened(tmp_path, {"s": entry(TOOLS=tools)}) as house:
        marks = {tool.name: tool.marks for tool in house.servers.tools}
    assert marks["s_reads"] == ("read",)
    assert marks["s_adds"] == ("write",)
    assert marks["s_unmarked"] == ("destroy",)


async def test_many_tools_are_bounded_and_told(tmp_path: Path) -> None:
    tools = _tools(tmp_path, *(_tool(f"t{n}") for n in range(200)))
    async with opened(tmp_path, {"many": entry(TOOLS=tools)}) as house:
        assert len(house.names) == 128
        assert "It lists more than 128 tools" in house.room("many").text
