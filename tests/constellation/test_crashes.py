"""kill -9 in the middle of a turn: with the same key nothing is lost and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from atlas_mcp.model.sections import sections
from tests.constellation.conftest import Echo, Script, open_world

pytestmark = pytest.mark.anyio

PROGRAM = """
import sys, anyio
from pathlib import Path
from tests.constellation.conftest import Echo, Script, open_world

async def main(home, where, message):
    script, echo = Script(), Echo()
    waits = script if where == "model" else echo
    waits.gate = anyio.Event()
    async with open_world(Path(home), script) as world, anyio.create_task_group() as tasks:
        async def send():
            await world.of().take_turn("librarian", message, conversation=None, key="k", tools=echo)
        tasks.start_soon(send)
        await waits.at_gate.wait()
        sys.stdout.write("there\\n"); sys.stdout.flush()
        await anyio.sleep_forever()

anyio.run(main, *sys.argv[1:])
"""
ASKED = '@tool echo {"text": "hi"}'


def started(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True)


async def killed_at(home: Path, where: str, message: str) -> None:
    process = started(home, where, message)
    try:
        assert process.stdout
        assert await anyio.to_thread.run_sync(process.stdout.readline) == "there\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("where", "model_calls"),
    [("model", 2), ("tool", 1)],
    ids=["while the model thinks", "while a tool of ours runs"],
)
async def test_a_turn_killed_in_the_middle_is_taken_up_with_its_key(home: Path, where: str, model_calls: int) -> None:
    await killed_at(home, where, ASKED)
    script, echo = Script(), Echo()
    async with open_world(home, script) as world:
        assert not any(a.busy for a in await world.of().list_agents())
        turn = await world.of().take_turn("librarian", ASKED, conversation=None, key="k", tools=echo)
        assert [one.body for one in sections(turn.reply, "result")] == ["echo hi"]
        assert echo.called == [{"text": "hi"}]
        assert script.calls == model_calls
        last = await world.of().take_turn("librarian", "and now?", conversation=None, key="next")
        assert last.conversation == turn.conversation
    assert [m.text for m in script.seen[-1] if m.type == "human"] == [ASKED, "and now?"]


async def test_a_thread_whose_turn_was_killed_and_never_taken_up_can_be_used(home: Path) -> None:
    await killed_at(home, "tool", ASKED)
    async with open_world(home) as world:
        turn = await world.of().take_turn("librarian", "never mind", conversation=None, key="other", tools=Echo())
        assert turn.reply == "ok: never mind"
