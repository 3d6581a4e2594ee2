"""Typed answers of the offline model: a tool call while there is something to look up, then the answer's JSON."""

from __future__ import annotations

from pydantic import BaseModel

from atlas_mcp.models.offline import debate, decision, draft, findings, librarian, measures, plan, revision
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.tools import Call, Tools, check_call, next_call
from atlas_mcp.models.offline.verdict import read, verdict

KNOWN = ("Plan", "Delegation", "Findings", "Draft", "Verdict", "Decision", "Proposals", "Statement", "Points")


def respond(prompt: Prompt, tools: Tools) -> Call | str:
    """The next tool call, or the typed answer as JSON; for an answer nobody here knows, a sentence that says so."""
    merging = prompt.answer == "Findings" and not prompt.every("materials")
    looking = prompt.answer == "Statement" or (prompt.answer == "Findings" and not merging)
    if looking and (call := next_call(prompt, tools)):
        return call
    if prompt.answer == "Verdict" and (call := _check(prompt, tools)):
        return call
    answer = _answer(prompt, merging)
    if answer is None:
        return f"The offline model knows no answer of the kind {prompt.answer!r}, only {', '.join(KNOWN)}."
    return answer.model_dump_json()


def _answer(prompt: Prompt, merging: bool) -> BaseModel | None:
    match prompt.answer:
        case "Plan":
            return plan.plan(prompt)
        case "Delegation":
            return plan.delegation(prompt)
        case "Findings":
            return findings.merged(prompt) if merging else findings.worker(prompt)
        case "Draft":
            return _draft(prompt)
        case "Verdict":
            return verdict(prompt)
        case "Decision":
            return decision.decide(prompt)
        case "Statement":
            return debate.statement(prompt)
        case "Points":
            return debate.points(prompt)
        case "Proposals":
            return librarian.proposals(prompt)
        case _:
            return None


def _draft(prompt: Prompt) -> BaseModel:
    now = measures.read_draft(prompt)
    if now is None:
        return draft.write(prompt)
    return revision.revise(prompt, now) if prompt.one("feedback") else revision.edit(now)


def _check(prompt: Prompt, tools: Tools) -> Call | None:
    judged = measures.read_draft(prompt)
    if judged is None or "quote_material" not in tools:
        return None
    return check_call(prompt, tools, [line.text for line in read(prompt, judged).unsupported])
