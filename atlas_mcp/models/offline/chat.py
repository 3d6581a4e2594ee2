"""Conversation with the offline model: plain answers from its memory, the conversation and the message itself.

It keeps what the user tells about themselves (a name, a preference, "remember that ...") in its `human` block, where
the tools for that are offered, and says so. Asked what it remembers, it reads its blocks out. Otherwise it answers with
the sentences that bear on the question, each with where it has it from; what it does not have it says. Every answer
ends by saying that this is the offline model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from atlas_mcp.model.sections import sections
from atlas_mcp.models.offline.choice import choose, in_order, weights
from atlas_mcp.models.offline.note import OFFLINE_NOTE
from atlas_mcp.models.offline.passages import Passage, distinct, passages, sentences
from atlas_mcp.models.offline.prompt import Persona, ToolResult, read_persona, tool_results
from atlas_mcp.models.offline.remember import Fact, facts, label_of_user, memory_call
from atlas_mcp.models.offline.tools import Call, Tools
from atlas_mcp.models.offline.words import asked_terms, surface

LONG = 600
MOST_SENTENCES = 4
MOST_IN_SUMMARY = 8
_REMEMBERS = re.compile(
    r"\bwhat (?:do|can|did) you (?:remember|know|recall|learn)\b|\bdo you (?:remember|know|recall)\b|\bwho am i\b|"
    r"\bwhat(?:'s| is) my name\b|\byour memory\b",
    re.IGNORECASE,
)
_WHO = re.compile(
    r"\bwho are you\b|\bintroduce yourself\b|\bwhat (?:can|do) you do\b|\byour (?:role|job|name)\b", re.IGNORECASE
)
_GREETING = re.compile(
    r"^\s*(?:hi|hello|hey|good (?:morning|day|evening|afternoon)|greetings)\b[\s,!.]*", re.IGNORECASE
)
_SUMMARY = re.compile(r"\bsummar(?:y|i[sz]e)\b", re.IGNORECASE)


def respond(messages: list[BaseMessage], tools: Tools) -> Call | str:
    """A tool call for the memory, or the answer."""
    turn = max((n for n, m in enumerate(messages) if isinstance(m, HumanMessage)), default=-1)
    if turn < 0:
        return f"There is no message to answer. {OFFLINE_NOTE}"
    message, persona = _put(messages[turn].text), read_persona(messages)
    results = tool_results(messages[turn:])
    told = facts(message)
    for fact in told:
        if not _result_of(fact, results) and (call := memory_call(fact, persona.blocks, tools)):
            return call
    if (call := _search(message, messages[:turn], persona, results, tools)) and not told:
        return call
    return _signed(_answer(message, messages[:turn], persona, results, told), persona)


def _put(text: str) -> str:
    """What is put to the agent: in a group, what the caller wants and what others said, without how a group works."""
    tasks, others = sections(text, "task"), sections(text, "said")
    return "\n\n".join(part.body for part in (*tasks, *others)).replace(OFFLINE_NOTE, "") or text


def summarise(messages: Sequence[BaseMessage]) -> str:
    """The telling sentences of a transcript, in order; without a note, as it goes into prompts."""
    text = "\n\n".join(m.text for m in messages if isinstance(m, HumanMessage)).replace(OFFLINE_NOTE, "")
    spoken = [p for p in passages(text) if '{"' not in p.text and '":' not in p.text]
    chosen = in_order(choose(spoken, {}, MOST_IN_SUMMARY, variety=0.6))
    return " ".join(p.line for p in chosen) or "Nothing of note was said."


def _answer(
    message: str, before: Sequence[BaseMessage], persona: Persona, results: Sequence[ToolResult], told: Sequence[Fact]
) -> str:
    said: list[str] = [*_noted(told, results, persona)]
    if _REMEMBERS.search(message):
        said.append(_memory(persona, message))
    elif len(message) > LONG or _SUMMARY.search(message):
        said.append(_digest(message))
    elif not told:
        greeting = bool(_GREETING.match(message))
        rest = _GREETING.sub("", message)
        if _WHO.search(message) or (greeting and not asked_terms(rest)) or not asked_terms(rest):
            said.append(_introduction(persona))
        else:
            said.append(_found(message, before, persona, results))
    return "\n\n".join(s for s in said if s)


def _noted(told: Sequence[Fact], results: Sequence[ToolResult], persona: Persona) -> list[str]:
    """What became of the facts the user told."""
    found: list[str] = []
    for fact in told:
        done = _result_of(fact, results)
        if not done:
            known = fact.line in persona.blocks.get(label_of_user(persona.blocks), "")
            found.append(
                f"I already have that in my memory: “{fact.line}”"
                if known
                else f"I have no memory tool in this turn, so I know it only in this conversation: “{fact.line}”"
            )
        elif done.failed or done.text.lower().startswith("error"):
            found.append(f"I could not put “{fact.line}” into my memory: {done.text[:200]}")
        else:
            verb = "corrected" if done.name == "memory_replace" else "noted"
            label = done.arguments.get("label", "human")
            found.append(f"I have {verb} this in my memory (block {label!r}): “{fact.line}”")
    return found


def _result_of(fact: Fact, results: Sequence[ToolResult]) -> ToolResult | None:
    """What became of the call that was to keep the fact."""
    return next((r for r in results if r.name.startswith("memory_") and fact.line in r.arguments.values()), None)


def _memory(persona: Persona, message: str) -> str:
    """The blocks as they stand, without the persona unless it is asked for."""
    hidden = set[str]() if re.search(r"\byourself\b|\bpersona\b", message, re.IGNORECASE) else {"persona"}
    filled = [(label, value) for label, value in persona.blocks.items() if value and label not in hidden]
    if not filled:
        return "My memory blocks are empty so far. Tell me something, for example “remember that ...”."
    lines = [f"{label}:\n" + "\n".join(f"  {line}" for line in value.splitlines()) for label, value in filled]
    return "This is what I remember.\n\n" + "\n\n".join(lines)


def _introduction(persona: Persona) -> str:
    """Who it is, from its own persona."""
    name = persona.name.replace("_", " ")
    first = sentences(persona.blocks.get("persona", ""))[:2]
    about = " ".join(sentences(persona.about)[:1])
    opening = f"I am the {name}" + (f": {about[0].lower()}{about[1:]}" if about else ".") if name else ""
    parts = [opening, *first]
    return " ".join(" ".join(p.split()) for p in parts if p) or "I am an agent of this constellation."


def _digest(message: str) -> str:
    """The telling sentences of a long message."""
    found = passages(message)
    chosen = in_order(choose(found, weights((asked_terms(found[0].text if found else ""), 0.5)), MOST_SENTENCES))
    if not chosen:
        return "I found no sentence in that to pick out."
    return "What it comes to, in its own words:\n" + "\n".join(f"- {p.line}" for p in chosen)


def _found(message: str, before: Sequence[BaseMessage], persona: Persona, results: Sequence[ToolResult]) -> str:
    """The sentences at hand that bear on the question, with where they stand."""
    asked = asked_terms(message)
    chosen = choose(_at_hand(before, persona, results), weights((asked, 1.0)), MOST_SENTENCES)
    chosen = [p for p in chosen if p.bag & frozenset(asked)]
    if not chosen:
        written = surface(message)
        words = ", ".join(written.get(t, t) for t in asked[:5])
        return (
            f"I have nothing about {words} in my memory or in this conversation. "
            "Give me a text, or set a team task with materials, and I will find the sentences that answer."
        )
    return "What I have on that:\n" + "\n".join(f"- {p.line} ({p.source})" for p in chosen)


def _at_hand(before: Sequence[BaseMessage], persona: Persona, results: Sequence[ToolResult]) -> list[Passage]:
    """What it remembers and was told, cut into passages."""
    found: list[Passage] = []
    for label, value in persona.blocks.items():
        found += passages(value, f"my memory: {label}")
    found += passages(persona.earlier, "earlier in our conversation")
    for message in before:
        if isinstance(message, HumanMessage):
            found += [p for p in passages(_put(message.text), "you, earlier") if not p.text.endswith("?")]
        elif isinstance(message, AIMessage) and message.text:
            found += passages(message.text.replace(OFFLINE_NOTE, ""), "me, earlier")
    for result in results:
        if not result.failed and result.name.endswith("_search"):
            found += passages(re.sub(r'[{}\[\]"]+', "\n", result.text), "my archive")
    return distinct(found)


def _search(
    message: str, before: Sequence[BaseMessage], persona: Persona, results: Sequence[ToolResult], tools: Tools
) -> Call | None:
    """A search of the archive, once, when nothing at hand answers a question."""
    asked = asked_terms(message)
    if "archival_memory_search" not in tools or results or not asked or not message.rstrip().endswith("?"):
        return None
    if _REMEMBERS.search(message) or _WHO.search(message):
        return None
    if any(p.bag & frozenset(asked) for p in _at_hand(before, persona, ())):
        return None
    written = surface(message)
    return "archival_memory_search", {"query": " ".join(written.get(t, t) for t in asked[:6])}


def _signed(answer: str, persona: Persona) -> str:
    name = persona.name.replace("_", " ")
    opening = "" if not name or answer.startswith("I am ") else f"This is the {name}. "
    return f"{opening}{answer}\n\n{OFFLINE_NOTE}"
