"""The real rooms behind a team task, in this process or in one that can be killed: record, embedded Letta,
constellation, engine. Only the model is the test's.

    python -m tests.teamwork.house HOME MODEL_URL [RUN_ID]      submits a task or takes that one up; prints its events
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from pydantic import SecretStr

from atlas_mcp.constellation.constellation import Constellation
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.embedded import StreamingASGITransport, create_app, running
from atlas_mcp.letta.connect import open_in_process
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.run import Run
from atlas_mcp.model.sections import sections
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.models.chat import Models
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.runs import open_runs
from atlas_mcp.runs.context import RunContext
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.runs.runs import Runs
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record
from atlas_mcp.teamwork.task import run_team_task

ME = Caller(id="local:me", client="test")
QUOTE = "The keeper lit the lamp at dusk and trimmed the wick every four hours."
TEXT = f"Of the light.\n\n{QUOTE} He wrote the weather into his log.\n\nThe boat came on Fridays with oil and bread."
TASK = TeamTask(goal="How was the light kept?", materials=(Material(name="log.txt", text=TEXT),))


@dataclass
class House:
    runs: Runs
    constellation: Constellation

    async def submit(self, task: TeamTask = TASK) -> str:
        return await self.runs.submit(ME, "team_task", task.goal, task.model_dump(mode="json"))

    async def ended(self, run_id: str) -> Run:
        """The run once it is over, with all its events."""
        async for _ in self.runs.follow(run_id):
            pass
        return await self.runs.get(ME, run_id)


def scripted(url: str) -> ModelConfig:
    keys = {"OPENAI_API_KEY": SecretStr("test")}
    return ModelConfig(model="openai:scripted-1", base_url=url, keys=keys, retries=0)


@asynccontextmanager
async def open_house(path: Path, config: ModelConfig) -> AsyncGenerator[House]:
    home, models = open_home(path), Models(config)
    locks = Locks(home.locks)
    async with AsyncExitStack() as stack:
        record = await stack.enter_async_context(open_record(home.path))
        app = create_app(home.letta, models, lock=locks.hold)
        await stack.enter_async_context(running(app))
        letta = await stack.enter_async_context(open_in_process(StreamingASGITransport(app)))
        constellation = Constellation(ME, load_roster(None), letta, record, locks, models, Toolbox())

        async def execute(run: RunContext) -> RunOutcome:
            return await run_team_task(run, constellation, TeamTask.model_validate(run.input))

        runs = await stack.enter_async_context(open_runs(home, record, locks, {"team_task": execute}))
        yield House(runs, constellation)


def good_answer(prompt: str) -> dict[str, Any]:
    """A decent answer to any of the prompts of a team task, from what stands in it."""
    title = sections(prompt, "answer_schema")[-1].attributes["title"]
    match title:
        case "Plan":
            return {"parts": [{"id": "facts", "team": "research", "task": "find out how the light was kept"}]}
        case "Delegation":
            workers = [line.split(":")[0] for line in sections(prompt, "workers")[0].body.splitlines()]
            chosen = workers[:1] if "written" in prompt or "rated" in prompt else workers
            return {"assignments": [{"worker": w, "task": f"what {w} can find"} for w in chosen]}
        case "Findings":
            evidence = [{"claim": "the lamp was lit at dusk", "source": "log.txt", "quote": QUOTE}]
            return {"text": "The lamp was lit at dusk.", "evidence": evidence}
        case "Draft":
            return {"title": "The light", "sections": [{"id": "s1", "heading": "Lamp", "text": "It was lit at dusk."}]}
        case "Decision":
            return {"action": "without", "reason": "It goes without."}
        case "Proposals":
            return {"learnings": []}
        case _:
            criteria = [line[2:] for line in sections(prompt, "criteria")[0].body.splitlines()]
            words = json.loads(sections(prompt, "draft")[0].body)["sections"][0]["text"][:60]
            return {"scores": [{"criterion": c, "score": 4.5, "reason": "It is so.", "quote": words} for c in criteria]}


async def main(path: str, url: str, run_id: str | None = None) -> None:
    async with open_house(Path(path), scripted(url)) as house:
        run_id = run_id or await house.submit()
        async for event in house.runs.follow(run_id):
            told = {"run_id": run_id, "actor": event.actor, "type": event.type, "text": event.text}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], *sys.argv[3:4])
