"""One typed question to one agent: its turns, their keys, what is tried again and what is not.

A turn that failed for a passing reason is tried again. An answer that does not parse, or that is refused, also by the
guard, is asked for once more in the same conversation with the reason (in a new one where the answer had no end and
would fill the conversation); then UnusableAnswer is raised. Every turn has a key made of the run, LangGraph's task, an
ordinal and the attempt: a node that runs again after a crash asks with the same keys and is given the stored results.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel

from atlas_mcp.errors import AtlasError, BudgetSpent, LockLost, RunLost, StoreUnavailable, UnusableAnswer, Waiting
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import prompts
from atlas_mcp.teamwork.answers import Check, Endless, parse
from atlas_mcp.teamwork.attempts import attempts
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.files import TurnFiles
from atlas_mcp.teamwork.guarding import look
from atlas_mcp.teamwork.heard import OnlyAsking
from atlas_mcp.teamwork.held import came_to, interrupted, tool_turn
from atlas_mcp.teamwork.leads import asked_by
from atlas_mcp.teamwork.stopping import note_refusal

if TYPE_CHECKING:
    from atlas_mcp.constellation.contract import ToolSession
    from atlas_mcp.model.result import Evidence
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.job import Job

    Taken = tuple[TurnResult, TurnFiles | None, ToolSession | None]

T = TypeVar("T", bound=BaseModel)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question(Generic[T]):
    """What an agent is asked, and for which `part` of the work (see `leads`). `doing` and `done` say it to people;
    `check` refuses an answer with a reason. `tries` is how often it may be asked for a usable answer; who `asks` may
    put questions to the caller, whose answers its next prompt brings. `recalled` are the ids of what the prompt gives
    of what is remembered."""

    agent: str
    prompt: str
    part: str
    answer: type[T]
    doing: str
    done: Callable[[T], str]
    check: Check[T] | None = None
    conversation: str = "new"
    tools: bool = False
    asks: bool = False
    tries: int = 2
    recalled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answered(Generic[T]):
    """The answer, the conversation it was given in, the model that gave it, and what the agent cited, escalated and
    asked with its tools."""

    answer: T
    conversation: str
    model: str = ""
    cited: tuple[Evidence, ...] = ()
    escalated: tuple[str, ...] = ()
    asked: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Failed:
    """Why an agent did not answer, in words; `stopped` where a budget is spent, and nobody else could do better."""

    why: str
    stopped: bool = False


async def ask(job: Job, node: str, question: Question[T]) -> Answered[T]:
    """Ask, once more if need be. Raises UnusableAnswer, or what kept the agent from answering."""
    used: list[TurnFiles] = []
    asked, problem = question, ""
    for ordinal in range(1, question.tries + 1):
        key = f"{node}:{ordinal}"
        turn, files = await _turn(job, key, asked)
        used += [files] if files else []
        try:
            answer = read(turn, files, question)
            cited = [e for f in used for e in f.cited]
            await look(job, key, question, answer, turn, cited, again=ordinal < question.tries)
        except ValueError as error:
            problem = str(error)
            _close(job, node, key, turn, f"{turn.agent}'s answer cannot be used: {shorten(problem, 300)}")
            asked = _anew(question, problem) if isinstance(error, Endless) else _repair(question, problem, turn)
            continue
        _close(job, node, key, turn, question.done(answer))
        return Answered(
            answer=answer,
            conversation=turn.conversation,
            model=turn.model,
            cited=tuple(cited),
            escalated=tuple(r for f in used for r in f.escalated),
            asked=tuple(a for f in used for a in f.asked),
        )
    again = ", also when asked again" if question.tries > 1 else ""
    raise UnusableAnswer(f"{question.agent} gave no usable answer{again}: {problem}")


async def try_ask(job: Job, node: str, question: Question[T]) -> Answered[T] | Failed:
    """Ask; what kept the agent from answering is returned, so that it costs nobody else's work.

    Only cancellation, the loss of the run or of the record, and its waiting for an answer come out.
    """
    stopped = False
    try:
        return await ask(job, node, question)
    except (RunLost, Waiting, StoreUnavailable, LockLost):  # not this agent's: nothing goes on without the record
        raise
    except AtlasError as error:
        stopped = isinstance(error, BudgetSpent)
        why = shorten(error.message if stopped else str(error), 400)
    except Exception as error:  # noqa: BLE001  one agent's failure, of whatever kind, must not cost the others' work
        _log.exception("an agent's work failed unexpectedly")
        why = shorten(f"{type(error).__name__}: {error}", 400)
    text = f"{question.agent} delivered nothing: {why}"
    job.run.tell(Entry(question.agent, "worker_failed", text, key=f"{node}:failed", cause_key=f"{node}:1:started"))
    return Failed(why, stopped)


def read(turn: TurnResult, files: TurnFiles | None, question: Question[T]) -> T:
    """What the agent submitted with its tool, else the last fitting object of its reply. ValueError if neither."""
    if files is None or files.submitted is None:
        return parse(turn.reply, question.answer, question.check)
    try:
        return parse(json.dumps(files.submitted), question.answer, question.check)
    except ValueError as error:
        try:
            return parse(turn.reply, question.answer, question.check)
        except ValueError:
            raise error from None  # what was wrong with what it meant as its answer


def _repair(question: Question[T], problem: str, turn: TurnResult) -> Question[T]:
    return replace(
        question,
        prompt=prompts.repair(problem, question.answer),
        conversation=turn.conversation,
        doing=f"{question.agent} mends its answer",
        recalled=(),
    )


def _anew(question: Question[T], problem: str) -> Question[T]:
    """The whole question again, where nothing of the answer is in the way."""
    prompt = prompts.anew(problem, question.prompt)
    return replace(question, prompt=prompt, conversation="new", doing=f"{question.agent} answers anew")


def _close(job: Job, node: str, key: str, turn: TurnResult, text: str) -> None:
    finished = Entry(turn.agent, "turn_finished", text, turn.turn_id, {}, f"{key}:finished", f"{key}:started")
    job.run.tell(finished, *job.count(node, turn, text))


async def _turn(job: Job, key: str, question: Question[Any]) -> tuple[TurnResult, TurnFiles | None]:
    """The agent's turn, and further ones in its conversation as long as calls of it are held and decided."""
    turn, files, tools = await _tried(job, key, question, None)
    number, here = 0, key
    while said := await came_to(tools, job.quiet):
        job.run.tell(*interrupted(turn, here, tools))
        number, here = number + 1, f"{key}:held:{number + 1}"
        doing = f"{question.agent} goes on with what was decided"
        further = replace(question, prompt=said, conversation=turn.conversation, doing=doing, part="", recalled=())
        turn, files, tools = await _tried(job, here, further, files)
    return turn, files


async def _tried(job: Job, key: str, question: Question[Any], files: TurnFiles | None) -> Taken:
    async def attempt(numbered: str) -> Taken:
        return await _attempt(job, key, numbered, question, files)

    with job.at_work():
        try:
            return await attempts(job.run, question.agent, key, question.doing, attempt, recalled=question.recalled)
        except BudgetSpent as spent:
            await note_refusal(job, spent)
            raise


async def _attempt(job: Job, key: str, numbered: str, question: Question[Any], files: TurnFiles | None) -> Taken:
    session: ToolSession | None = None
    if question.tools or question.asks:
        files = files or TurnFiles(job.run, job.task, question.agent, numbered, job.agents.sources)
        agent = job.agents.roster.agent(question.agent)
        session = job.agents.toolbox.session(agent, files, tool_turn(job.run, key, numbered))
        session = session if question.tools else OnlyAsking(session)
    turn = await job.agents.take_turn(
        question.agent,
        question.prompt,
        conversation=question.conversation,
        key=numbered,
        run_id=job.run.run_id,
        tools=session,
        on_event=job.run.emit,
        asked_by=asked_by(question.part) if question.part else None,
    )
    if files and job.run.resumed:
        await files.restore()
    return turn, files, session
