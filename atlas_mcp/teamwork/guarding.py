"""What agents hand in, looked at by the guard before anybody else has it.

Promise: an answer that does not pass is asked for once more, in the same conversation and with the reason, as one that
cannot be read is. One that does not pass then either counts as none: for a worker's findings that is escalated, for all
else it is told in the result. A claim whose evidence is not to be found is asked for once more too, and then left out.
Which rule it was, where, and what happened next stands in the journal (`guard_failed`) and in the result's `guard`.
What a layer could not look at goes on, is told there, and its result does not pass. After a crash no layer but the
rules is asked again about an answer that it has judged.

Rules look at everything that agents hand each other; a validator model and the user's rails only at what they write of
the matter itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter

from atlas_mcp.guard.layers import About
from atlas_mcp.guard.leaving import UNAVAILABLE, failing
from atlas_mcp.model.guard import Finding, Held, Verdict
from atlas_mcp.model.work import Findings
from atlas_mcp.runs.changes import Entry, Kept, Spent
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.proving import prove

if TYPE_CHECKING:
    from pydantic import BaseModel

    from atlas_mcp.model.result import Evidence, Result
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.asking import Question
    from atlas_mcp.teamwork.job import Job

JUDGED: Final = frozenset({"findings", "merging", "conclusion", "opening", "statement", "write", "edit", "revise"})
"""The parts of the work whose answers every layer looks at."""

AGAIN = "it is asked for once more, in the same conversation"
ESCALATED = "it is not used, and what becomes of the work is decided above"
MISSING = "it is not used, and what was to be done is missing"
LEFT_OUT = "what is not supported is left out"
GOES_ON = "it goes on unjudged by that layer, and the result does not pass"
CUT = "what was found is cut out"

_HELD = "guard"
_LIST = TypeAdapter(dict[str, Held])
_MOST_TOLD = 3


class Refused(ValueError):
    """Raised for an answer that does not pass. Its text tells the agent what is wrong with it."""


async def look(
    job: Job,
    key: str,
    question: Question[Any],
    answer: BaseModel,
    turn: TurnResult,
    cited: Iterable[Evidence],
    *,
    again: bool,
) -> None:
    """Return if the answer may go on. Refused if not; `again` says whether it would be asked for once more then."""
    if job.guard is None or not job.guard.on:
        return
    pieces = [piece for piece in _texts(answer.model_dump()) if piece[1].strip()]
    verdict = await _verdict(job, key, question, "\n".join(text for _, text in pieces))
    found = [_placed(finding, pieces) for finding in verdict.findings]
    wrong = failing(verdict.model_copy(update={"findings": tuple(found)}))
    if job.guard.rules is not None and not wrong and question.part == "findings" and isinstance(answer, Findings):
        found += (unsupported := await _unsupported(job, question.agent, answer, cited))
        wrong += unsupported if again else []
    await _note(job, key, question, turn, found, again=again)
    if wrong:
        raise Refused(
            f"it does not pass the guard. {' '.join(f'{f.told()}.' for f in wrong[:_MOST_TOLD])} Leave that out"
        )


async def held(job: Job) -> dict[str, Held]:
    """What did not pass so far, by the key of its turn."""
    if not job.held and (text := await job.find(_HELD)):
        job.held = _LIST.validate_json(text)
    return job.held


async def whole(job: Job, result: Result) -> Result:
    """The result as it may leave: by the rules once more, with what did not pass on the way to it."""
    if job.guard is None:
        return result
    before = await held(job)
    about = About("output", caller=job.run.caller, run_id=job.run.run_id)
    verdict = await job.guard.check(result.output, about, only_rules=True)
    now = [Held(agent="atlas", what="output", finding=finding, then=CUT) for finding in verdict.findings]
    evidence = [await _cut(job, one, about) for one in result.evidence]
    unjudged = [one.finding for one in before.values() if one.finding.rule == UNAVAILABLE]
    notes = [f"Not everything was judged: {finding.text}" for finding in unjudged]
    changes = {"output": verdict.text, "evidence": evidence, "guard": [*before.values(), *now]}
    return result.model_copy(
        update={**changes, "passed": result.passed and not unjudged, "notes": [*result.notes, *notes]}
    )


async def _cut(job: Job, one: Any, about: About) -> Any:
    if job.guard is None:
        return one
    texts = {name: await job.guard.check(getattr(one, name), about, only_rules=True) for name in ("claim", "quote")}
    if all(verdict.passed for verdict in texts.values()):
        return one
    return one.model_copy(update={name: verdict.text for name, verdict in texts.items()})


async def _verdict(job: Job, key: str, question: Question[Any], text: str) -> Verdict:
    """What all layers say; what they said of it in an earlier attempt, where it was more than rules."""
    guard, judged = cast("Any", job.guard), question.part in JUDGED
    name = f"guard/{key}"
    if judged and guard.judging and job.run.resumed and (known := await job.find(name)) is not None:
        return Verdict.model_validate_json(known)
    about = About(
        "answer",
        name=question.part,
        agent=question.agent,
        task=job.task.goal,
        criteria=job.task.criteria,
        sources=tuple((m.name, m.text) for m in job.task.materials) if guard.judging else (),
        caller=job.run.caller,
        run_id=job.run.run_id,
        spent=lambda used: job.run.tell(Spent(used)),
    )
    verdict = await guard.check(text, about, only_rules=not judged)
    if judged and guard.judging:
        kept = verdict.model_copy(update={"text": ""})
        job.note(Kept(name, kept.model_dump_json(), passing=True))
    return verdict


async def _unsupported(job: Job, agent: str, answer: Findings, cited: Iterable[Evidence]) -> list[Finding]:
    """Claims whose evidence is not to be found, and findings without any where there is something to quote."""
    given = (*answer.evidence, *cited)
    _, refused = await prove(job, agent, given)
    told = [f"{one.what}: {one.why}" for one in refused]
    if job.task.materials and not given and not answer.gaps:
        told = ["no evidence is given for any claim, and nothing is said to be open"]
    return [
        Finding(layer="rules", rule="unsupported", severity="medium", action="flag", text=shorten(text, 300))
        for text in told
    ]


async def _note(
    job: Job, key: str, question: Question[Any], turn: TurnResult, found: list[Finding], *, again: bool
) -> None:
    """Tell the journal and the result what was found, if anything was; or that it passes now."""
    before = await held(job)
    if not found:
        node, _, ordinal = key.rpartition(":")
        if f"{node}:{int(ordinal) - 1}" in before:
            text = f"{turn.agent}'s answer passes the guard now"
            job.note(Entry("atlas", "guard_passed", text, turn.turn_id, {}, f"{key}:guard", f"{key}:started"))
        return
    first = min(found, key=lambda finding: (finding.action == "flag", finding.rule == UNAVAILABLE))
    then = _then(first, question, again=again)
    place = key if first.rule != UNAVAILABLE else f"{UNAVAILABLE}:{first.layer}"
    known = place in before
    before[place] = Held(agent=turn.agent, what=question.part, finding=first, then=then)
    told = "; ".join(finding.told().rstrip(".") for finding in found[:_MOST_TOLD])
    text = f"{turn.agent}'s answer does not pass the guard: {shorten(told, 500)}; {then}"
    if first.rule == UNAVAILABLE:
        text = f"{turn.agent}'s answer could not be judged: {shorten(first.text, 400)}; {then}"
    data = {"layer": first.layer, "rule": first.rule, "part": question.part, "then": then, "findings": len(found)}
    entry = Entry("atlas", "guard_failed", text, turn.turn_id, data, f"{place}:guard", f"{key}:started")
    job.note(*([] if known else [entry]), Kept(_HELD, _LIST.dump_json(before).decode()))


def _then(finding: Finding, question: Question[Any], *, again: bool) -> str:
    if finding.rule == UNAVAILABLE:
        return GOES_ON
    if again:
        return AGAIN
    if finding.action == "flag":
        return LEFT_OUT
    return ESCALATED if question.part == "findings" else MISSING


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value, with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, one in cast("Mapping[str, Any]", value).items():
            yield from _texts(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(cast("list[Any]", value), 1):
            yield from _texts(one, f"{path}[{number}]")


def _placed(finding: Finding, pieces: list[tuple[str, str]]) -> Finding:
    """The finding with the field of the answer in which it is, instead of a line that nobody sees."""
    if finding.offset is None:
        return finding
    starts, position = list[int](), 0
    for _, text in pieces:
        starts.append(position)
        position += len(text) + 1
    number = bisect_right(starts, finding.offset) - 1
    path, text = pieces[number]
    offset = finding.offset - starts[number]
    line = text.count("\n", 0, offset) + 1
    return finding.model_copy(update={"text": f"{finding.text.rstrip('.')}, in {path}", "offset": offset, "line": line})
