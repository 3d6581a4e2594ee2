"""One scenario played once: its work done in a home of its own, its questions answered, its faults met, its
expectations looked at.

Promise: whatever fails of it is told as a failure of the scenario; only what the user must mend is raised. The home is
taken away afterwards, also when it was interrupted.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp.errors import AtlasError, Unavailable
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.scenario import Played
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.model.turn import ChatReply
from atlas_mcp.model.usage import Usage
from atlas_mcp.playing import open_stage
from atlas_mcp.scenarios.checks import Seen, failures, used
from atlas_mcp.scenarios.killed import until_killed

if TYPE_CHECKING:
    from atlas_mcp.atlas import OnNews
    from atlas_mcp.model.run import Event, Run
    from atlas_mcp.model.scenario import Piece, Remembered, Scenario
    from atlas_mcp.playing import Stage
    from atlas_mcp.settings import Settings


async def play(settings: Settings, scenario: Scenario, number: int = 1) -> Played:
    """What came of it; `number` tells the times apart that it is played."""
    place = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "atlas-scenario-"))
    began, clock = time.time(), time.monotonic()
    player = _Player(scenario)
    try:
        with anyio.move_on_after(scenario.seconds) as limit:
            await player.play(settings, place)
        if limit.cancelled_caught:
            last = f"; the last in its journal: {player.last}" if player.last else ""
            player.failures.append(f"it had not ended after {scenario.seconds:g} s, and was given up{last}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return Played(
        scenario=scenario.name,
        number=number,
        failures=tuple(player.failures),
        usage=player.usage,
        used=player.used,
        seconds=round(time.monotonic() - clock, 3),
        began_ms=round(began * 1_000),
        trace_ids=tuple(dict.fromkeys(player.traces)),
    )


def task_of(piece: Piece) -> TeamTask:
    """The piece of work, as a team is set to it."""
    return TeamTask(
        goal=piece.goal or "",
        materials=tuple(Material(name=one.name, text=one.text or "") for one in piece.materials),
        teams=piece.teams,
        criteria=piece.criteria,
        project=piece.project,
        max_rounds=piece.max_rounds,
        mode=piece.mode,
        budget=piece.budget,
        approve_plan=piece.approve_plan,
    )


class _Player:
    """A scenario while it is played, and what came of it so far."""

    def __init__(self, scenario: Scenario) -> None:
        self.failures: list[str] = []
        self.usage = Usage()
        self.used: float | None = None
        self.traces: list[str] = []
        self.last = ""
        self._scenario = scenario
        self._end = next(iter(scenario.ends), None)

    async def play(self, settings: Settings, place: Path) -> None:
        """Do its work, piece after piece; one that cannot be done at all is the last."""
        begun = None
        if self._end and self._end.kind == "killed":
            try:
                begun = await until_killed(settings, self._scenario, place)
            except Unavailable as error:
                self.failures.append(error.message)
                return
        held = self._end.agent if self._end and self._end.kind == "cancelled" else None
        async with open_stage(settings, self._scenario, place, held=held) as stage:
            for number, piece in enumerate(self._scenario.work, 1):
                where = f"work {number}: " if len(self._scenario.work) > 1 else ""
                try:
                    seen = await self._seen(stage, piece, begun)
                except AtlasError as error:
                    self.failures.append(f"{where}it could not be done: {error}")
                    return
                self._judge(piece, seen, where)

    async def _seen(self, stage: Stage, piece: Piece, begun: str | None) -> Seen:
        clock = time.monotonic()
        seen = await (self._task(stage, piece, begun) if piece.goal else self._chat(stage, piece))
        seconds = time.monotonic() - clock
        memory = [await _remembered(stage, one) for one in piece.expect.memory]
        return Seen(seen.text, seen.usage, seconds, seen.run, tuple(memory))

    def _judge(self, piece: Piece, seen: Seen, where: str) -> None:
        expect = piece.expect
        self.failures += [f"{where}{line}" for line in failures(expect, seen, real=self._scenario.real)]
        self.usage += seen.usage
        shares = [share for share in (self.used, used(expect, seen.usage)) if share is not None]
        self.used = max(shares, default=None)

    async def _task(self, stage: Stage, piece: Piece, begun: str | None) -> Seen:
        """The run, once it has ended; one that was `begun` in another process is gone on with."""

        async def heard(news: Run) -> None:
            self.last = news.events[-1].text if news.events else self.last
            if self._end and self._end.kind == "cancelled" and began_turn(news, self._end.agent):
                await stage.atlas.cancel_run(stage.caller, news.run_id)

        if begun:
            run = await stage.atlas.follow_run(stage.caller, begun)
        else:
            run = await stage.atlas.run_team_task(stage.caller, task_of(piece), on_news=heard)
        run = await self._ended(stage, run, piece, heard)
        return Seen(run.result.output if run.result else run.reply or "", run.usage, 0, run)

    async def _chat(self, stage: Stage, piece: Piece) -> Seen:
        """The reply; and where it took longer, or had to wait for an answer, the run in which it was given."""

        async def heard(event: Event) -> None:
            self.last = event.text

        run = None
        reply = await stage.atlas.chat(stage.caller, piece.agent or "", piece.message or "", on_event=heard)
        if reply.status == "working" and reply.run_id:
            run = await stage.atlas.follow_run(stage.caller, reply.run_id)
            run = await self._ended(stage, run, piece)
            told = await stage.atlas.outcome(stage.caller, run.run_id)
            reply = told if isinstance(told, ChatReply) else reply
        self.traces += [reply.trace_id] if reply.trace_id else []
        return Seen(reply.reply or "", run.usage if run else reply.usage, 0, run)

    async def _ended(self, stage: Stage, run: Run, piece: Piece, heard: OnNews | None = None) -> Run:
        """The run, once it has ended, its questions answered on the way."""
        answers = list(piece.answers)
        while run.status not in ENDED:
            if run.question:
                answer = answers.pop(0) if answers else run.question.safe
                await stage.atlas.answer_run(stage.caller, run.run_id, answer, question_id=run.question.id)
            since = run.events[-1].seq if run.events else 0
            run = await stage.atlas.follow_run(stage.caller, run.run_id, since=since, on_news=heard)
        self.traces += [run.trace_id] if run.trace_id else []
        return run


def began_turn(news: Run, agent: str | None) -> bool:
    """Whether the news are that this agent began a turn."""
    return any(event.type == "turn_started" and event.actor == agent for event in news.events)


async def _remembered(stage: Stage, wanted: Remembered) -> str:
    """What is found where memory is to be looked into."""
    if wanted.search:
        found = await stage.atlas.search_memory(stage.caller, wanted.search, agent=wanted.agent)
        return "\n".join(hit.text for hit in found.hits)
    blocks = await stage.atlas.get_memory(stage.caller, wanted.agent or "", wanted.label)
    return "\n".join(block.value for block in blocks)
