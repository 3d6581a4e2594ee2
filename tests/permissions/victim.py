"""A process that chats, approves the call that is held, and is killed at a point that its argument names.

`asking`: the call is stored, the question is not; `approved`: the caller's yes is stored, nothing is begun; `made`: the
call was made, its end is not stored; `never`: it is killed by the test. It prints the run's id.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import anyio
import anyio.to_thread

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach import held
from atlas_mcp.runs import questions
from atlas_mcp.settings import load_settings

POINTS = {"approved": "begun", "made": "done"}
ME = Caller(id="local:me", client="victim")


def die(*given: Any, **named: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def arm(point: str) -> None:
    """See to it that the process dies there."""
    if point == "asking":
        questions.put = die
    elif point in POINTS:
        true_move = held.move

        async def move(db: Any, call: Any, to: Any, answer: str | None = None) -> bool:
            return die() if to == POINTS[point] else await true_move(db, call, to, answer)

        held.move = move


def say(run_id: str) -> None:
    print(run_id, flush=True)


async def main(point: str, message: str) -> None:
    arm(point)
    async with open_atlas(load_settings()) as atlas:
        told = await atlas.chat(
            ME, "strategist", message, conversation="new", on_run=lambda run: print(run, flush=True)
        )
        assert told.run_id
        await atlas.answer_run(ME, told.run_id, "approve")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
