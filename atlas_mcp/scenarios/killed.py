"""A process that begins a scenario's work, and is killed in the midst of an agent's turn.

    python -m atlas_mcp.scenarios.killed        the process: reads what it is to do from stdin, and says how far it is

It is killed with kill -9, by the one that started it; without that one it ends by itself.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from atlas_mcp.errors import Unavailable
from atlas_mcp.model.scenario import Scenario
from atlas_mcp.playing import open_stage
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from atlas_mcp.model.run import Run
    from atlas_mcp.settings import Settings

_LONGEST_LINE = 1_000


async def until_killed(settings: Settings, scenario: Scenario, place: Path) -> str:
    """Have another process begin the scenario's work at `place`, kill it in the turn that the scenario's fault names,
    and give the run that it left behind. Unavailable where it ended before that turn."""
    order = {"home": str(settings.home), "model": settings.model if scenario.real else None, "place": str(place)}
    line = json.dumps({**order, "scenario": scenario.model_dump(mode="json")}) + "\n"
    module = [sys.executable, "-m", "atlas_mcp.scenarios.killed"]
    async with await anyio.open_process(module, stderr=None, start_new_session=True) as process:
        try:
            if process.stdin is None or process.stdout is None:
                raise Unavailable("the process that is to be killed cannot be spoken to.")
            await process.stdin.send(line.encode())
            said = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", _LONGEST_LINE)
            return said.decode().strip()
        except (anyio.IncompleteRead, anyio.BrokenResourceError):
            agent = scenario.ends[0].agent
            raise Unavailable(
                f"the process that was to be killed ended before {agent} had a turn.",
                next_step="Name an agent that the plan gives work to.",
            ) from None
        finally:
            if process.returncode is None:
                process.kill()


async def _main() -> None:
    order = json.loads(await anyio.to_thread.run_sync(sys.stdin.readline))
    scenario = Scenario.model_validate(order["scenario"])
    settings = load_settings(home=Path(order["home"]), model=order["model"])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_with_who_started_this)
        await _begin(settings, scenario, Path(order["place"]))
        os._exit(0)  # whoever reads stdin would be waited for


async def _begin(settings: Settings, scenario: Scenario, place: Path) -> None:
    from atlas_mcp.scenarios.play import began_turn, task_of

    agent = scenario.ends[0].agent

    async def heard(news: Run) -> None:
        if began_turn(news, agent):
            sys.stdout.write(f"{news.run_id}\n")
            sys.stdout.flush()
            await anyio.sleep_forever()

    async with open_stage(settings, scenario, place, held=agent) as stage:
        await stage.atlas.run_team_task(stage.caller, task_of(scenario.work[0]), on_news=heard)


async def _end_with_who_started_this() -> None:
    await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    os._exit(1)


if __name__ == "__main__":
    anyio.run(_main)
