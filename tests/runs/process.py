"""A program that the tests start and kill: one process that executes runs of a home.

It reads commands as JSON lines, and tells as JSON lines what happens in it. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.question import Asking
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import RunOutcome, open_runs
from atlas_mcp.runs.context import RunContext
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import open_record

sys.path.insert(0, str(Path(__file__).parents[2]))  # run by its path

from tests.runs.means import database_told, locks_beside

ME = Caller(id="local:me", client="desk")
GO = Asking(asked_by="worker", kind="choice", text="Left or right?", options=("left", "right"), safe="stop")


def tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def steps(run: RunContext) -> RunOutcome:
    """Does `steps` steps, each kept in an artifact and told by keyed events.

    Waits for ever in step `pause_in` at the first attempt, ends its process in step `die_in` at every one, and asks the
    caller before step `ask_in`.
    """
    tell(event="begun", run_id=run.run_id, resumed=run.resumed, attempt=run.attempt, caller=run.caller.client)
    try:
        for step in range(1, run.input["steps"] + 1):
            await one(run, step)
    except BaseException as error:
        tell(event="stopped", run_id=run.run_id, by=type(error).__name__)
        raise
    return RunOutcome(reply=f"{run.input['steps']} steps")


async def one(run: RunContext, step: int) -> None:
    if await run.load(f"step-{step}") is not None:
        return
    await run.emit("worker", "turn_started", f"step {step}", turn_id=f"t{step}", key=f"started {step}")
    tell(event="step", run_id=run.run_id, step=step)
    if step == run.input.get("pause_in") and not run.resumed:
        await anyio.sleep_forever()
    if step == run.input.get("ask_in"):
        answer = await run.ask(GO, key=f"go {step}")
        tell(event="heard", run_id=run.run_id, answer=answer)
        await run.save("answer", answer)
    if step == run.input.get("die_in"):
        os._exit(9)
    await run.add_usage(Usage(turns=1), key=f"t{step}")
    await run.emit("worker", "turn_finished", f"step {step} done", turn_id=f"t{step}", key=f"finished {step}")
    await run.save(f"step-{step}", "done")


async def main(path: str, providers: list[str]) -> None:
    database = database_told()
    home = open_home(Path(path, str(os.getpid())) if database else Path(path))  # who shares a PostgreSQL shares no home
    async with (
        open_record(home.path, database) as record,
        locks_beside(record, home) as locks,
        open_runs(home, record, locks, {"team_task": steps}, providers=providers) as runs,
    ):
        tell(event="ready", pid=os.getpid())
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            command = json.loads(line)
            if command["do"] == "submit":
                run_id = await runs.submit(ME, "team_task", "walk", command["input"], needs=command.get("needs", []))
                tell(event="submitted", run_id=run_id)
            elif command["do"] == "answer":
                run = await runs.answer(ME, command["run_id"], command["answer"])
                tell(event="answered", status=run.status, note=run.note)
            else:
                run = await runs.cancel(ME, command["run_id"])
                tell(event="cancelled", status=run.status)


anyio.run(main, sys.argv[1], sys.argv[2:])
