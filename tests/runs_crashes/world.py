"""Workers that can be killed and frozen, a counting model behind them, and a run of three teams for them.

What is counted: each turn is one question to the model. A turn that is done when its worker dies must never be asked
again; one that was under way may be, once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from sqlalchemy import select

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.run import Run
from atlas_mcp.model.task import TeamTask
from atlas_mcp.runs import open_runs
from atlas_mcp.runs.runs import Runs
from atlas_mcp.store import tables
from atlas_mcp.store.home import open_home
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from tests.runs.means import locks_beside
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import TASK, good_answer

DEADLINE = 300
ME = Caller(id="local:me", client="test")
PARTS = [
    {"id": "facts", "team": "research", "task": "find out how the light was kept"},
    {"id": "sense", "team": "analysis", "task": "say what that means for the keeper"},
]


THINKING = 0.04
"""Seconds that the model takes for an answer."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """How the model answers: decently."""
    given = good_answer(last_user_text(request))
    return {"json": {**given, "parts": PARTS} if "parts" in given else given, "delay": THINKING}


ANSWERS = {"call": answer}


@dataclass(frozen=True)
class Place:
    """The homes of the workers, the PostgreSQL that has the record if it is in none of them, and who looks on."""

    homes: list[Path]
    database: Postgres | None
    onlooker: Path


class Worker:
    """An `atlas-mcp worker`, known to the record as `name` once it is `ready`."""

    def __init__(self, home: Path) -> None:
        command = [sys.executable, "-m", "atlas_mcp", "worker"]
        self.home = home
        given = {**os.environ, "ATLAS_HOME": str(home)}
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True, env=given
        )
        self.name = ""
        self.said: list[str] = []
        self._named = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    async def ready(self) -> None:
        """Return when it executes runs."""
        await anyio.to_thread.run_sync(self._named.wait, DEADLINE)
        assert self.name, "".join(self.said)

    def kill(self) -> None:
        """kill -9: nothing of it runs any more, not even its clean-up."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def freeze(self) -> None:
        """Let it stand still, with all its locks and connections."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        self.process.send_signal(signal.SIGCONT)

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if "executes runs as " in line:
                self.name = line.split("executes runs as ")[1].split(",")[0]
                self._named.set()
        self._named.set()


@dataclass
class World:
    """A record, the workers on it, and one who submits and looks on but executes nothing."""

    runs: Runs
    record: Record
    model: ScriptedModel
    workers: list[Worker] = field(default_factory=list[Worker])

    async def start(self, home: Path) -> Worker:
        """Another worker, ready to work."""
        worker = Worker(home)
        self.workers.append(worker)
        await worker.ready()
        return worker

    async def staff(self, place: Place) -> None:
        """See to it that each of the homes has a worker."""
        homes = [*place.homes]
        for worker in self.workers:
            homes.remove(worker.home)
        async with anyio.create_task_group() as group:
            for home in homes:
                group.start_soon(self.start, home)

    async def submit(self, task: TeamTask = TASK) -> str:
        return await self.runs.submit(ME, "team_task", task.goal, task.model_dump(mode="json"))

    async def until(self, run_id: str, type: str, since: int = 0) -> Any:
        """The first such event after that number."""
        with anyio.fail_after(DEADLINE):
            async for event in self.runs.follow(run_id, since):
                if event.type == type:
                    return event
        raise AssertionError(f"it ended without {type}: {await self.runs.get(ME, run_id)}")

    async def ended(self, run_id: str) -> Run:
        with anyio.fail_after(DEADLINE):
            async for _ in self.runs.follow(run_id):
                pass
            return await self.runs.get(ME, run_id)

    async def executor(self, run_id: str) -> Worker | None:
        """The worker that has the run in its hands, as the record says."""
        async with self.record.read() as db:
            row = (await db.execute(select(tables.run.c.executor).where(tables.run.c.id == run_id))).one()
        return next((w for w in self.workers if w.name == row.executor), None)

    async def turns(self, run_id: str, status: str) -> Counter[str]:
        """The messages of the run's turns that are done, or under way."""
        of_run = (tables.turn.c.run_id == run_id, tables.turn.c.status == status)
        async with self.record.read() as db:
            return Counter((await db.execute(select(tables.turn.c.message).where(*of_run))).scalars())

    def asked(self, since: int = 0) -> Counter[str]:
        """What the model was asked, and how often."""
        return Counter(last_user_text(request) for request in self.model.requests[since:])


@asynccontextmanager
async def looking_on(place: Place, model: ScriptedModel) -> AsyncGenerator[World]:
    """The world; its workers are killed at the end."""
    home = open_home(place.onlooker)
    async with (
        open_record(home.path, place.database) as record,
        locks_beside(record, home) as locks,
        open_runs(home, record, locks, {}) as runs,
    ):
        world = World(runs, record, model)
        try:
            yield world
        finally:
            for worker in world.workers:
                worker.thaw()
                worker.kill()


def outcome(run: Run) -> Any:
    """What must be the same however often the work was interrupted."""
    assert run.result is not None, run.error
    ratings = sorted((r.criterion, r.score, r.rater, r.round) for r in run.result.ratings)
    return run.status, run.result.output, run.result.evidence, ratings, run.result.rounds, run.result.missing
