"""The toolbox: who gets which tools, and what a call costs at the most."""

from __future__ import annotations

import json
import re
import socket
import threading
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from atlas_mcp.constellation import sandbox as sandbox_room
from atlas_mcp.constellation import tool_session as session_room
from atlas_mcp.constellation.library import Library
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.sandbox import sandbox_means
from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import OverLimit, ToolFailed
from atlas_mcp.model.agent import AgentSpec
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.permissions import Permissions, approval_of
from atlas_mcp.model.task import Material
from atlas_mcp.reach.sources import Source
from atlas_mcp.watch import spans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlas_mcp.model.agent import Role
    from atlas_mcp.model.result import Evidence
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio


class Files:
    """A run's files in memory."""

    run_id = "run-1"
    folders = ()

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.cited: list[Evidence] = []
        self.submitted: dict[str, Any] = {}
        self.reasons: list[str] = []
        self.stuck = False

    def materials(self) -> list[Material]:
        return [Material(name="notes.txt", text="The ship sailed in May. It came back in June.")]

    async def sources(self, name: str) -> list[Source]:
        return []

    async def source_names(self) -> list[str]:
        return []

    async def save(self, name: str, text: str) -> None:
        if len(text) > 100_000:
            raise OverLimit("text", len(text), 100_000)
        self.kept[name] = text

    async def load(self, name: str) -> str:
        if self.stuck:
            await anyio.sleep_forever()
        return self.kept[name]

    async def cite(self, evidence: Evidence) -> None:
        self.cited.append(evidence)

    async def submit(self, result: dict[str, Any]) -> None:
        self.submitted = result

    async def ask_caller(self, question: str, options: Sequence[str]) -> None:
        self.asked = (question, [*options])

    async def escalate(self, reason: str) -> None:
        self.reasons.append(reason)


def an_agent(role: Role = "worker", team: str | None = "research", **more: Any) -> AgentSpec:
    return AgentSpec(name="ada", role=role, description="d", persona="p", team=team, **more)


def offered(toolbox: Toolbox, agent: AgentSpec, files: Files | None = None) -> set[str]:
    return {spec.name for spec in toolbox.session(agent, files).specs}


def put(folder: Path, name: str, source: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source)


GREET = '''
def greet(name: str, times: int = 1) -> str:
    """Greet somebody.

    Args:
        name: Who it is.
        times: How often.
    """
    return " ".join(["Hello, " + name] * times)
'''


@pytest.fixture(scope="module")
def shipped() -> Toolbox:
    return Toolbox()


def test_the_shipped_tools_are_there_and_web_search_is_not(shipped: Toolbox):
    assert {"search_materials", "quote_material", "calculate", "submit_result"} <= shipped.available
    assert "search_web" not in shipped.available
    assert shipped.problems == []


def test_every_shipped_tool_tells_its_purpose_and_each_argument(shipped: Toolbox):
    everything = an_agent(role="supervisor", pools=tuple(pool_matrix().pools))
    shipped = shipped.knowing(Library(Caller(id="local:me"), cast("Record", None)))
    for spec in shipped.session(everything, Files()).specs:
        assert len(spec.description) > 40, spec.name
        assert not {"run", "knowledge"} & set(spec.parameters["properties"])
        assert spec.parameters["additionalProperties"] is False
        assert all(argument["description"] for argument in spec.parameters["properties"].values()), spec.name
    assert {s.name for s in shipped.session(everything, Files()).specs} == shipped.available


def test_an_agent_gets_the_tools_of_the_pools_its_roster_names(shipped: Toolbox):
    assert offered(shipped, an_agent(pools=("analysis",)), Files()) == {
        "calculate", "compare_options", "text_statistics", "save_output", "load_output", "submit_result", "escalate",
    }  # fmt: skip
    assert "search_materials" in offered(shipped, an_agent(pools=("materials",)), Files())


def test_a_role_keeps_an_agent_from_pools_that_are_not_for_it(shipped: Toolbox):
    lead = an_agent(role="global_supervisor", team=None, pools=("planning", "outputs", "evidence"))
    assert offered(shipped, lead, Files()) == {"ask_caller", "calculate", "compare_options"}


def test_a_roster_without_pools_gives_what_role_and_team_say(shipped: Toolbox):
    assert {"search_materials", "cite_source", "submit_result"} <= offered(shipped, an_agent(), Files())
    assert "calculate" not in offered(shipped, an_agent(), Files())
    assert "calculate" in offered(shipped, an_agent(team="analysis"), Files())
    assert "search_materials" in offered(shipped, an_agent(team="a_team_of_mine"), Files())


def test_without_a_run_only_tools_that_need_none_are_offered(shipped: Toolbox):
    assert offered(shipped, an_agent(pools=("analysis", "materials"))) == {
        "calculate", "compare_options", "text_statistics",
    }  # fmt: skip


def test_the_pure_tools_of_an_agents_pools_come_with_their_source(shipped: Toolbox):
    pure = {tool.name: tool for tool in shipped.pure(an_agent(pools=("analysis", "materials")))}
    assert set(pure) == {"calculate", "compare_options", "text_statistics"}
    assert "def calculate(" in pure["calculate"].source
    assert len({tool.mark for tool in pure.values()}) == 3
    assert shipped.pure(an_agent(pools=("materials",))) == []


async def test_source_that_a_letta_keeps_is_trusted_only_if_it_is_a_pure_tool_of_ours(
    shipped: Toolbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sandbox_room, "sandbox_means", lambda: "none")
    (calculate,) = (t.source for t in shipped.pure(an_agent(pools=("analysis",))) if t.name == "calculate")
    assert (await shipped.run(calculate, "calculate", {"expression": "6 * 7"})).endswith("42")
    with pytest.raises(ToolFailed, match="'expression' is missing"):
        await shipped.run(calculate, "calculate", {})
    for source, name in ((calculate + "\n", "calculate"), (GREET, "greet"), (calculate, "Fraction")):
        with pytest.raises(ToolFailed, match="written by an agent and was not run"):
            await shipped.run(source, name, {"expression": "1"})


def test_every_pool_and_role_of_the_default_roster_is_in_the_matrix(shipped: Toolbox):
    roster = load_roster(None)
    for agent in roster.agents:
        assert set(agent.pools) <= set(pool_matrix().pools), agent.name
        assert set(agent.pools) <= pool_matrix().of(agent), f"{agent.name} names a pool that its role may not have"
        assert offered(shipped, agent, Files()), agent.name


def test_what_an_agent_lacks_comes_with_the_way_to_add_it(shipped: Toolbox, tmp_path: Path):
    (lack,) = shipped.lacks(an_agent(needs=("search_web", "calculate")))
    assert lack.what == "search_web"
    assert "ATLAS_TOOLS" in lack.how_to_add
    assert "search_web.py" in lack.how_to_add
    put(tmp_path / "tools", "search_web.py", GREET.replace("greet", "search_web"))
    assert Toolbox(tmp_path / "tools").lacks(an_agent(needs=("search_web",))) == []


async def test_a_call_executes_the_tool_with_the_run(shipped: Toolbox):
    files = Files()
    session = shipped.session(an_agent(), files)
    hits = json.loads(await session.call("search_materials", {"query": "sail"}))["hits"]
    assert hits[0]["material"] == "notes.txt"
    await session.call("cite_source", {"claim": "It left.", "source": "NOTES.TXT", "quote": "The ship sailed in May"})
    assert (files.cited[0].source, files.cited[0].claim) == ("notes.txt", "It left.")
    await session.call("submit_result", {"result": {"text": "done"}})
    await session.call("escalate", {"reason": "no dates"})
    assert (files.submitted, files.reasons) == ({"text": "done"}, ["no dates"])


async def test_a_call_executes_a_pure_tool_in_the_sandbox(shipped: Toolbox):
    session = shipped.session(an_agent(pools=("analysis",)), None)
    assert await session.call("calculate", {"expression": "0.1 + 0.2"}) == "0.1 + 0.2 = 0.3"


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("calculate", {}, "'expression' is missing. It takes: expression."),
        ("calculate", {"expression": "1", "precision": 2}, "no argument 'precision'"),
        ("calculate", {"expression": ["1"]}, "expression: Input should be a valid string"),
        ("calculate", {"expression": "1 / 0"}, "divides by zero"),
        ("compare_options", {"scores": {"a": {"cost": "dear"}, "b": {"cost": 1}}}, "scores.a.cost: .*valid number"),
        ("read_material", {"name": "notes"}, "no material 'notes' in this task. There are: 'notes.txt'"),
        ("search_materials", {"query": "!?"}, "no words"),
        ("load_output", {"name": "never"}, "failed: KeyError"),
        ("save_output", {"name": "x", "text": "y" * 100_001}, "too long"),
        ("send_rocket", {}, "no tool 'send_rocket' for you. There are: "),
        ("compare_option", {}, "no tool"),
    ],
)
async def test_a_call_that_cannot_work_says_what_to_change(
    shipped: Toolbox, name: str, arguments: dict[str, Any], said: str
):
    session = shipped.session(an_agent(role="supervisor", pools=("materials", "analysis")), Files())
    with pytest.raises(ToolFailed, match=said):
        await session.call(name, arguments)


async def test_numbers_that_a_model_writes_as_text_are_understood(shipped: Toolbox):
    session = shipped.session(an_agent(), Files())
    assert "characters 4 to 8 of" in await session.call(
        "read_material", {"name": "notes.txt", "start": "4", "length": "4"}
    )


async def test_a_run_tool_that_hangs_is_given_up(shipped: Toolbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(session_room.SECONDS, "run", 0.05)
    files = Files()
    files.stuck = True
    with anyio.fail_after(60), pytest.raises(ToolFailed, match=r"longer than 0.05 s"):
        await shipped.session(an_agent(pools=("outputs",)), files).call("load_output", {"name": "x"})


async def test_an_answer_of_megabytes_is_refused(shipped: Toolbox):
    files = Files()
    files.kept["big"] = "x" * 1_000_000
    with pytest.raises(ToolFailed, match="1,000,000 characters"):
        await shipped.session(an_agent(pools=("outputs",)), files).call("load_output", {"name": "big"})


async def test_a_user_adds_a_tool_by_putting_a_file_in_a_folder(tmp_path: Path):
    put(tmp_path / "tools", "greet.py", GREET)
    toolbox = Toolbox(tmp_path / "tools")
    assert toolbox.problems == []
    session = toolbox.session(an_agent(), None)
    (spec,) = session.specs
    assert spec.description == "Greet somebody."
    assert spec.parameters["properties"]["times"] == {"type": "integer", "description": "How often.", "default": 1}
    assert spec.parameters["required"] == ["name"]
    assert await session.call("greet", {"name": "Ada", "times": 2}) == "Hello, Ada Hello, Ada"


async def test_a_users_tool_that_misbehaves_costs_an_error_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-secret")
    for name, body in {
        "raising": "raise RuntimeError('broken')",
        "hanging": "\n    while True: pass",
        "printing": "\n    for _ in range(500_000): print('x' * 100)",
        "leaking": "import os; return str(os.environ)",
    }.items():
        put(tmp_path / "tools", f"{name}.py", f'def {name}() -> str:\n    """Do something."""\n    {body}\n')
    session = Toolbox(tmp_path / "tools").session(an_agent(), None)
    for name in ("raising", "printing"):
        with pytest.raises(ToolFailed, match=f"{name} failed"):
            await session.call(name, {})
    assert "a-secret" not in await session.call("leaking", {})
    monkeypatch.setitem(session_room.SECONDS, "pure", 0.3)
    with pytest.raises(ToolFailed, match="hanging took longer"):
        await session.call("hanging", {})


async def test_a_users_tool_reaches_the_network_only_if_its_file_says_so(tmp_path: Path):
    body = """
def ask(port: int) -> str:
    "Ask a service."
    import socket
    with socket.create_connection(("127.0.0.1", port), 25) as connection:
        return connection.recv(100).decode()
"""
    put(tmp_path / "tools", "ask.py", f"KIND = 'network'\nPOOLS = ('web',)\n{body}")
    put(tmp_path / "tools", "ask_closed.py", body.replace("def ask", "def ask_closed"))
    session = Toolbox(tmp_path / "tools").session(an_agent(pools=("web",)), None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answering = threading.Thread(target=lambda: server.accept()[0].sendall(b"found"))
        answering.start()
        if "seccomp" in sandbox_means():
            with pytest.raises(ToolFailed, match="PermissionError"):
                await session.call("ask_closed", {"port": port})
        assert await session.call("ask", {"port": port}) == "found"
        answering.join(60)


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("broken.py", "def broken(:\n", "line 1: "),
        (
            "two.py",
            "def one() -> str:\n    'x'\ndef two() -> str:\n    'x'\n",
            "exactly one public function, named two",
        ),
        ("other.py", GREET, "it defines: greet"),
        ("silent.py", "def silent() -> str:\n    return ''\n", "no docstring"),
        ("untyped.py", "def untyped(x):\n    'Do.'\n", "x has no type"),
        ("exotic.py", "def exotic(x: bytes):\n    'Do.'\n", "bytes is not among the types"),
        ("spread.py", "def spread(*x: str):\n    'Do.'\n", r"without \* and \*\*"),
        ("computed.py", "def computed(x: int = len('')):\n    'Do.'\n", "default of x is not a plain value"),
        ("odd.py", "KIND = 'magic'\ndef odd():\n    'Do.'\n", "KIND is 'magic'"),
        ("pooled.py", "POOLS = ('nowhere',)\ndef pooled():\n    'Do.'\n", "no pool nowhere; there are answer"),
        ("calculate.py", "def calculate():\n    'Do.'\n", "there is a tool calculate already"),
        ("inside.py", "KIND = 'run'\ndef inside(run):\n    'Do.'\n", "cannot be of the kind run"),
        ("latin.py", b"# \xff\ndef latin():\n    'Do.'\n", "cannot be read"),
    ],
)
def test_a_broken_file_is_a_problem_told_and_the_rest_works(tmp_path: Path, name: str, source: str | bytes, said: str):
    put(tmp_path / "tools", "greet.py", GREET)
    (tmp_path / "tools" / name).write_bytes(source if isinstance(source, bytes) else source.encode())
    toolbox = Toolbox(tmp_path / "tools")
    (problem,) = toolbox.problems
    assert name in problem
    assert re.search(said, problem)
    assert "greet" in toolbox.available
    assert "calculate" in toolbox.available


def test_reading_a_file_never_executes_it(tmp_path: Path):
    mark = tmp_path / "executed"
    put(tmp_path / "tools", "greet.py", f"open({str(mark)!r}, 'w').close()\n{GREET}")
    assert "greet" in Toolbox(tmp_path / "tools").available
    assert not mark.exists()


def test_a_folder_that_is_not_there_is_a_problem_told(tmp_path: Path):
    toolbox = Toolbox(tmp_path / "nowhere")
    assert "no such file" in toolbox.problems[0]
    assert "calculate" in toolbox.available


async def test_each_call_is_a_span_with_its_arguments_answer_and_status(
    shipped: Toolbox, monkeypatch: pytest.MonkeyPatch
):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("tests"))
    session = shipped.session(an_agent(), Files())
    await session.call("search_materials", {"query": "ship"})
    with pytest.raises(ToolFailed):
        await session.call("read_material", {"name": "missing"})
    good, bad = exporter.get_finished_spans()
    assert (good.name, good.status.status_code.name) == ("execute_tool search_materials", "OK")
    assert "ship" in str((good.attributes or {})["mlflow.spanInputs"])
    assert "notes.txt" in str((good.attributes or {})["mlflow.spanOutputs"])
    assert bad.status.status_code.name == "ERROR"
    assert "missing" in str(bad.status.description)


def test_what_adds_to_atlas_own_memory_says_so_and_is_asked_about_only_where_the_user_wants_it() -> None:
    marked = {tool.name: tool.approval for tool in Toolbox().known if "keep" in tool.marks}
    assert marked == dict.fromkeys(("remember", "relate", "share_observation", "save_output"), "allow")
    assert approval_of(Permissions(keep="ask"), ("keep",)) == "ask"
