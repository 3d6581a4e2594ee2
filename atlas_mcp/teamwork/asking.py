"""One typed question to one agent: its turns, their keys, what is tried again and what is not.

A turn that failed for a passing reason is tried again, at most ATTEMPTS times. An answer that does not parse, or that
is refused, is asked for once more in the same conversation with the reason; then UnusableAnswer is raised. Every turn
has a key made of the run, LangGraph's task, an ordinal and the attempt: a node that runs again after a crash asks with
the same keys and is given the stored results.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from pydantic import BaseModel

from atlas_mcp.errors import AtlasError, LettaUnavailable, LockTimeout, ModelFailed, RunLost, UnusableAnswer
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.answers import Check, parse
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.files import TurnFiles

if TYPE_CHECKING:
    from atlas_mcp.model.result import Evidence
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.contract import ToolSession
    from atlas_mcp.teamwork.job import Job

T = TypeVar("T", bound=BaseModel)

ATTEMPTS = 3
BACKOFF_SECONDS = 0.25
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question(Generic[T]):
    """What an agent is asked. `doing` and `done` say it to people; `check` refuses an answer with a reason."""

    agent: str
    prompt: str
    answer: type[T]
    doing: str
    done: Callable[[T], str]
    check: Check[T] | None = None
    conversation: str = "new"
    tools: bool = False


@dataclass(frozen=True)
class Answered(Generic[T]):
    """The answer, the conversation it was given in, and what the agent cited and escalated with its tools."""

    answer: T
    conversation: str
    cited: tuple[Evidence, ...] = ()
    escalated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why an agent did not answer, in words."""

    why: str


async def ask(job: Job, node: str, question: Question[T]) -> Answered[T]:
    """Ask, once more if need be. Raises UnusableAnswer, or what kept the agent from answering."""
    first, files = await _turn(job, f"{node}:1", question)
    problem = ""
    try:
        answer = read(first, files, question)
    except ValueError as error:
        problem = str(error)
    else:
        return await _finish(job, node, 1, question, first, [files], answer)
    text = f"{question.agent}'s answer could not be used and is asked for once more: {shorten(problem, 300)}"
    await job.say(question.agent, "turn_finished", text, key=f"{node}:1:finished", turn=first)
    await job.count(node, first, text)
    again = replace(
        question,
        prompt=prompts.repair(problem, question.answer),
        conversation=first.conversation,
        doing=f"{question.agent} mends its answer",
    )
    second, more = await _turn(job, f"{node}:2", again)
    try:
        answer = read(second, more, question)
    except ValueError as error:
        text = f"{question.agent}'s answer could not be used again: {shorten(str(error), 300)}"
        await job.say(question.agent, "turn_finished", text, key=f"{node}:2:finished", turn=second)
        await job.count(node, second, text)
        raise UnusableAnswer(f"{question.agent} gave no usable answer, also when asked again: {error}") from error
    return await _finish(job, node, 2, question, second, [files, more], answer)


async def try_ask(job: Job, node: str, question: Question[T]) -> Answered[T] | Failed:
    """Ask; what kept the agent from answering is returned, so that it costs nobody else's work.

    Only cancellation and the loss of the run itself come out.
    """
    try:
        return await ask(job, node, question)
    except RunLost:
        raise
    except AtlasError as error:
        return Failed(shorten(str(error), 400))
    except Exception as error:  # noqa: BLE001  one agent's failure, of whatever kind, must not cost the others' work
        _log.exception("an agent's work failed unexpectedly")
        return Failed(shorten(f"{type(error).__name__}: {error}", 400))


def read(turn: TurnResult, files: TurnFiles | None, question: Question[T]) -> T:
    """What the agent submitted with its tool, else the last fitting object of its reply. ValueError if neither."""
    if files and files.submitted is not None:
        try:
            return parse(json.dumps(files.submitted), question.answer, question.check)
        except ValueError:
            pass  # the reply may still hold the answer; if not, its own problem is the one to tell
    return parse(turn.reply, question.answer, question.check)


async def _finish(
    job: Job,
    node: str,
    ordinal: int,
    question: Question[T],
    turn: TurnResult,
    files: list[TurnFiles | None],
    answer: T,
) -> Answered[T]:
    text = question.done(answer)
    await job.say(question.agent, "turn_finished", text, key=f"{node}:{ordinal}:finished", turn=turn)
    await job.count(node, turn, text)
    used = [f for f in files if f]
    return Answered(
        answer=answer,
        conversation=turn.conversation,
        cited=tuple(e for f in used for e in f.cited),
        escalated=tuple(r for f in used for r in f.escalated),
    )


async def _turn(job: Job, key: str, question: Question[Any]) -> tuple[TurnResult, TurnFiles | None]:
    await job.say(question.agent, "turn_started", question.doing, key=f"{key}:started")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await _attempt(job, f"{key}:{attempt}", question)
        except AtlasError as error:
            if attempt == ATTEMPTS or not transient(error):
                raise
            text = f"{question.agent} is tried again ({attempt + 1} of {ATTEMPTS}): {shorten(str(error), 300)}"
            await job.say(question.agent, "turn_retried", text, key=f"{key}:retried:{attempt}")
        await anyio.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


async def _attempt(job: Job, key: str, question: Question[Any]) -> tuple[TurnResult, TurnFiles | None]:
    files: TurnFiles | None = None
    session: ToolSession | None = None
    if question.tools:
        files = TurnFiles(job.run, job.task, question.agent, key)
        session = JournalledTools(
            job, question.agent, key, job.agents.toolbox.session(job.agents.roster.agent(question.agent), files)
        )
    turn = await job.agents.take_turn(
        question.agent,
        question.prompt,
        conversation=question.conversation,
        key=key,
        run_id=job.run.run_id,
        tools=session,
    )
    if files and job.run.resumed:
        await files.restore()
    return turn, files


def transient(error: AtlasError) -> bool:
    """Whether trying again may help."""
    return isinstance(error, LettaUnavailable | LockTimeout) or (isinstance(error, ModelFailed) and error.transient)


class JournalledTools:
    """A tool session whose calls stand in the run's journal."""

    def __init__(self, job: Job, agent: str, key: str, session: ToolSession) -> None:
        self._job = job
        self._agent = agent
        self._key = key
        self._session = session
        self._calls = 0
        self.specs = session.specs

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call the tool; the event is written first, so that a tool that hangs is seen."""
        self._calls += 1
        given = shorten(", ".join(f"{k}={v!r}" for k, v in arguments.items()), 120)
        text = f"{self._agent} uses {name}({given})"
        await self._job.say(self._agent, "tool_called", text, key=f"{self._key}:tool:{self._calls}")
        return await self._session.call(name, arguments)
