"""How good finished work was, told to MLflow: ratings by agents, scores by code, and for a sample a judge's verdicts.

Promise: nothing of it is in a call's way. What ends here is put into a queue, which takes a microsecond; a task in the
background looks at it, in a thread. The queue is bounded: in a flood the oldest are not scored, and that is logged.
What waits when the process ends is still scored, for at most a third of a second; what a killed process left is not.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from atlas_mcp.watch import notes
from atlas_mcp.watch.notes import FeedbackNote
from atlas_mcp.watch.spans import current_trace_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.run import RunKind
    from atlas_mcp.runs import Executor, RunOutcome
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.watch.charging import Charging
    from atlas_mcp.watch.quality import scores
    from atlas_mcp.watch.quality.judge import Judge

MOST_WAITING: Final = 2_000
SCORER: Final = "atlas"
_REST_SECONDS: Final = 0.3
_MOST_RATINGS: Final = 400
_MOST_WORDS: Final = 2_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """Work that has ended well: what was asked, what it came to, and in which trace it is seen."""

    run_id: str
    caller: Caller
    kind: RunKind
    trace_id: str
    asked: str
    answer: str
    result: Result | None = None


class Quality:
    """The queue of one process. `judge` is asked about some of what ends, where one is configured."""

    def __init__(self, judge: Judge | None = None) -> None:
        self._ended: deque[Ended] = deque(maxlen=MOST_WAITING)
        self._news = anyio.Event()
        self.judge = judge

    def over(self, executors: Mapping[RunKind, Executor]) -> dict[RunKind, Executor]:
        """The executors, with what they come to looked at afterwards."""
        return {kind: partial(self._execute, kind, executor) for kind, executor in executors.items()}

    @asynccontextmanager
    async def at_work(self, charging: Charging) -> AsyncGenerator[None]:
        """Look at what ends while the body runs, and then at what is left; a judge is paid by `charging`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            if self.judge is not None:
                tasks.start_soon(self.judge.work, charging)
            yield
            tasks.cancel_scope.cancel()
        end = time.monotonic() + _REST_SECONDS
        while self._ended and time.monotonic() < end:
            self._look_at(self._ended.popleft())

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            while self._ended:
                ended = self._ended.popleft()
                await anyio.to_thread.run_sync(self._look_at, ended)
                if self.judge is not None and ended.asked and ended.kind != "rating":
                    self.judge.consider(ended.caller, ended.run_id, ended.trace_id, ended.asked, ended.answer)

    async def _execute(self, kind: RunKind, executor: Executor, run: RunContext) -> RunOutcome:
        outcome = await executor(run)
        if trace_id := current_trace_id():
            asked = str(run.input.get("message") or run.input.get("goal") or "")
            answer = outcome.result.output if outcome.result else outcome.reply or ""
            self._take(Ended(run.run_id, run.caller, kind, trace_id, asked, answer, outcome.result))
        return outcome

    def _take(self, ended: Ended) -> None:
        if len(self._ended) == MOST_WAITING:
            log.warning("work ends faster than it is looked at: the oldest is not scored")
        self._ended.append(ended)
        self._news.set()

    def _look_at(self, ended: Ended) -> None:
        try:
            for note in notes_on(ended):
                notes.tell(note)
        except Exception:  # one odd text must not end the task that looks at all others
            log.exception("run %s was not scored", ended.run_id)


def judge_of(settings: Settings, home: Home, locks: Locks) -> Judge | None:
    """The judge that the settings name. UnknownModel, MissingKey; ConfigurationError for what MLflow cannot reach."""
    if settings.judge_model is None:
        return None
    from atlas_mcp.models.catalog import parse_name
    from atlas_mcp.models.chat import Models
    from atlas_mcp.models.config import ModelConfig
    from atlas_mcp.watch.quality import judge

    name = parse_name(settings.judge_model, argument="ATLAS_JUDGE_MODEL")
    models = Models(
        ModelConfig(
            model=name.text, base_url=settings.model_base_url, prices=settings.prices, keys=settings.provider_keys
        )
    )
    means = judge.Means(name.text, *models.outside(name.handle), partial(models.cost, name.handle))
    calls, share, pause = settings.judge_calls, settings.judge_share, judge.GATHER_SECONDS
    return judge.Judge(home.path, locks, means, share=share, calls_a_day=calls, gather_seconds=pause)


def notes_on(ended: Ended) -> Iterator[FeedbackNote]:
    """What is to be told of it: by agents that rated it, and by code."""
    common: dict[str, Any] = {"trace_id": ended.trace_id, "at_ms": int(time.time() * 1_000)}
    for rating in ended.result.ratings[:_MOST_RATINGS] if ended.result else ():
        about = f"{rating.criterion}/{rating.section}/{rating.rater}/{rating.round}"
        where = f"Round {rating.round}, {rating.section}: " if rating.section else f"Round {rating.round}: "
        quote = f" “{rating.quote}”" if rating.quote else ""
        yield FeedbackNote(
            key=f"rating/{ended.run_id}/{sha256(about.encode()).hexdigest()[:24]}",
            name=f"rating: {rating.criterion}"[:200],
            value=rating.score,
            rationale=f"{where}{rating.reason}{quote}"[:_MOST_WORDS],
            source="agent",
            source_id=rating.rater,
            **common,
        )
    for score in _scores(ended):
        yield FeedbackNote(
            key=f"code/{ended.run_id}/{score.name}",
            name=score.name,
            value=score.good,
            rationale=score.why[:_MOST_WORDS],
            source="code",
            source_id=SCORER,
            **common,
        )


def _scores(ended: Ended) -> list[scores.Score]:
    from atlas_mcp.watch.quality import scores

    if ended.kind == "team_task" and ended.result is not None:
        return scores.of_result(ended.asked, ended.result)
    if ended.result is not None:
        return scores.of_checks(ended.result.checks)  # a text that was handed in answers nothing
    return scores.of_answer(ended.asked, ended.answer) if ended.asked else []
