"""Pure tools: put into Letta as source once, given to the agents that may use them, and offered by nobody else."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.constellation import tool_session as session_room
from atlas_mcp.constellation.names import tags
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.model.caller import Caller
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import open_tracing
from tests.constellation.conftest import Script, open_world
from tests.constellation.test_toolbox import Files

if TYPE_CHECKING:
    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
ME = Caller(id="local:me")
SHIPPED = {"calculate", "compare_options", "text_statistics"}
ASKED = '@tool calculate {"expression": "6 * 7"}'
PUT, FIND = "PUT /v1/tools/", "GET /v1/tools/"

GREET = '''
def greet(name: str) -> str:
    """Greet somebody.

    Args:
        name: Who it is.
    """
    return "Hello, " + name
'''

PROGRAM = """
import sys, anyio
from pathlib import Path
from atlas_mcp.constellation.toolbox import Toolbox
from tests.constellation.conftest import open_world

async def main():
    async with open_world(Path(sys.argv[1]), toolbox=Toolbox()) as world:
        sys.stdout.write("ready\\n"); sys.stdout.flush()
        sys.stdin.readline()
        agent, message = sys.argv[2:]
        turn = await world.of().take_turn(agent, message, conversation=None, key=agent)
        assert "42" in turn.reply, turn
        sys.stdout.write(f"{world.wire.requests.count('PUT /v1/tools/')}\\n")

anyio.run(main)
"""


def toolbox(folder: Path, *sources: str) -> Toolbox:
    """The shipped tools, and these of the user's own in place of those before."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for source in sources:
        name = source.split("def ", 1)[1].split("(", 1)[0]
        (folder / f"{name}.py").write_text(source)
    return Toolbox(folder)


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=root, text=True)


async def ask(world: World, message: str, agent: str = "strategist", key: str = "k") -> str:
    return (await world.of().take_turn(agent, message, conversation=None, key=key)).reply


async def attached(world: World, agent: str = "strategist") -> set[str]:
    (state,) = await world.letta.find_agents(tags(ME, agent))
    return {tool.name for tool in state.tools if tool.ours}


async def test_a_pure_tool_is_put_into_letta_once_for_all_agents_and_callers(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        async with anyio.create_task_group() as tasks:
            for n, agent in enumerate(("strategist", "data_scientist", "financial_analyst", "strategist")):
                tasks.start_soon(world.of(f"local:{n}").open_conversation, agent)
        assert world.wire.requests.count(PUT) == len(SHIPPED)
        assert world.wire.requests.count(FIND) == len(SHIPPED)
        await world.of().open_conversation("strategist")
        assert await attached(world) == SHIPPED
        assert world.wire.requests.count(PUT) == len(SHIPPED)


async def test_a_pure_tool_is_put_into_letta_once_by_two_processes(home: Path) -> None:
    processes = [started(home, agent, ASKED) for agent in ("strategist", "data_scientist")]
    try:
        for process in processes:
            assert process.stdout
            assert await anyio.to_thread.run_sync(process.stdout.readline) == "ready\n"
        said = [process.stdin for process in processes if process.stdin]
        for stdin in said:
            stdin.write("go\n")
            stdin.flush()
        put = [await anyio.to_thread.run_sync(p.stdout.readline) for p in processes if p.stdout]
        assert sum(map(int, put)) == len(SHIPPED)
        assert [await anyio.to_thread.run_sync(p.wait) for p in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def test_an_agent_calls_it_and_that_is_told_and_traced_once(home: Path) -> None:
    told: list[tuple[Any, ...]] = []

    async def on_event(actor: str, type: str, text: str, **more: Any) -> None:
        told.append((actor, type, text, more["tool"]))

    async with open_world(home, toolbox=Toolbox()) as world:
        with open_tracing(home) as tracing:
            turn = await world.of().take_turn("strategist", ASKED, conversation=None, key="k", on_event=on_event)
            assert tracing.flush(60)
            rows: list[Any] = [row for file in waiting(home / "spool") for row in read(file.path).spans]
        assert "42" in turn.reply
        assert told == [("strategist", "tool_called", "strategist calculated 6 * 7", "calculate")]
        (span,) = [row["attributes"] for row in rows if row["name"] == "execute_tool calculate"]
        assert span["mlflow.spanType"] == "TOOL"
        assert "42" in span["mlflow.spanOutputs"]
        assert not SHIPPED & set(world.wire.client_tools[0])
        assert sorted(n for n in world.script.offered[0] if n in SHIPPED) == sorted(SHIPPED)


async def test_in_a_run_atlas_executes_what_touches_the_run_and_letta_the_rest(home: Path) -> None:
    tools, files = Toolbox(), Files()
    asked = f'{ASKED}\n@tool save_output {{"name": "sum.txt", "text": "42"}}'
    async with open_world(home, toolbox=tools) as world:
        session = tools.session(world.roster.agent("strategist"), files)
        turn = await world.of().take_turn("strategist", asked, conversation=None, key="k", tools=session)
        assert "42" in turn.reply
        assert files.kept == {"sum.txt": "42"}
        assert set(world.wire.client_tools[0]) == {spec.name for spec in session.specs} - SHIPPED
        offered = world.script.offered[0]
        assert len(offered) == len(set(offered))
        assert {spec.name for spec in session.specs} <= set(offered)


async def test_an_agent_whose_pools_have_no_pure_tool_gets_none(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        await ask(world, "hello", agent="librarian")
        assert not SHIPPED & set(world.script.offered[0])
        assert PUT not in world.wire.requests


async def test_a_turn_that_uses_one_is_one_request_also_after_a_restart(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        await ask(world, "hello", key="1")
    async with open_world(home, toolbox=Toolbox()) as world:
        assert "42" in await ask(world, ASKED, key="2")
        assert len(world.wire.requests) == 1


async def test_source_that_changed_is_put_again_and_used_by_every_agent(home: Path, tmp_path: Path) -> None:
    greet, folder = '@tool greet {"name": "Ada"}', tmp_path / "tools"
    agents = ("strategist", "librarian")
    async with open_world(home, toolbox=toolbox(folder, GREET)) as world:
        assert [await ask(world, greet, a, a) for a in agents] == ["ok: Hello, Ada"] * 2
    async with open_world(home, toolbox=toolbox(folder, GREET.replace("Hello", "Good day"))) as world:
        assert [await ask(world, greet, a, f"{a}2") for a in agents] == ["ok: Good day, Ada"] * 2
        assert world.wire.requests.count(PUT) == 1
        assert world.script.offered[-1].count("greet") == 1
    async with open_world(home, toolbox=toolbox(folder)) as world:
        assert "not a valid tool" in await ask(world, greet, key="gone")
        assert "greet" not in world.script.offered[-1]
        assert await attached(world) == SHIPPED


async def test_a_letta_that_takes_no_source_leaves_the_tools_to_atlas_which_says_so_once(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with open_world(home, toolbox=Toolbox(), takes_source=False) as world:
            assert "42" in await ask(world, ASKED, key="1")
            assert "42" in await ask(world, ASKED, "data_scientist", "2")
            assert set(world.wire.client_tools[0]) >= SHIPPED
            assert world.script.offered[0].count("calculate") == 1
            assert world.wire.requests.count(PUT) == 1
        assert len([r for r in caplog.records if "takes no tool source" in r.message]) == 1
    async with open_world(home, toolbox=Toolbox(), takes_source=False) as world:
        assert "42" in await ask(world, ASKED, key="3")
        assert not [r for r in world.wire.requests if r.startswith("PATCH")]
    async with open_world(home, toolbox=Toolbox()) as world:
        assert "42" in await ask(world, ASKED, key="4")
        assert not SHIPPED & set(world.wire.client_tools[0])


async def test_a_tool_of_somebody_else_is_never_replaced(home: Path) -> None:
    theirs = 'def calculate(expression: str) -> str:\n    """Their own."""\n    return "theirs"\n'
    async with open_world(home, toolbox=Toolbox()) as world:
        client: Any = world.letta._client  # the test plays the server's owner
        made = await client.tools.upsert(source_code=theirs)
        assert "42" in await ask(world, ASKED)
        assert SHIPPED & set(world.wire.client_tools[0]) == {"calculate"}
        assert world.script.offered[0].count("calculate") == 1
        assert (await client.tools.retrieve(made.id)).source_code == theirs


async def test_tools_that_letta_lost_are_put_there_again_for_the_next_agent(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        await ask(world, "hello", key="1")
        client: Any = world.letta._client
        for tool in [t async for t in client.tools.list(name="calculate")]:
            await client.tools.delete(tool.id)
        assert "42" in await ask(world, ASKED, "data_scientist", "2")


async def test_an_agent_that_letta_lost_gets_its_tools_again(home: Path) -> None:
    async with open_world(home, toolbox=Toolbox()) as world:
        await ask(world, "hello", key="1")
        (agent,) = await world.letta.find_agents(tags(ME, "strategist"))
        await world.letta.delete_agent(agent.id)
        assert "42" in await ask(world, ASKED, key="2")
        assert await attached(world) == SHIPPED


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('raise ValueError("no such day")', "no such day"),
        ("while True: pass", "took longer than 1 s"),
        ('print("x" * 5_000_000)', "printed more than 20,000 characters"),
        ('return "x" * 5_000_000', "5,000,000 characters; the limit is 20,000"),
    ],
)
async def test_a_tool_that_fails_hangs_or_floods_costs_the_agent_an_error_message_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    if "longer than 1 s" in said:  # the deadline as it is would only be a longer wait; the others need theirs
        monkeypatch.setitem(session_room.SECONDS, "pure", 1.0)
    bad = f'def bad(day: str) -> str:\n    """Do it badly."""\n    {body}\n'
    script = Script()
    async with open_world(home, script, toolbox=toolbox(tmp_path / "tools", bad)) as world:
        reply = await ask(world, '@tool bad {"day": "Friday"}')
        assert said in reply
        assert len(reply) < 1_000
        assert "there is no argument 'hour'" in await ask(world, '@tool bad {"hour": "noon"}', key="2")
        assert await ask(world, "hello", key="3") == "ok: hello"
