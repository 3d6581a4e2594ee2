"""What the offline model reads out of a conversation: the task at hand, what tools said, who it is.

Only the user's own messages carry tasks. What stands in materials, reports, drafts and tool results is data, wherever
it says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ValidationError

from atlas_mcp.model.sections import Section, sections
from atlas_mcp.model.work import Findings
from atlas_mcp.models.offline.passages import Passage, from_source, passages, whole

T = TypeVar("T", bound=BaseModel)

_BLOCK = re.compile(r'<block label="(?P<label>\w+)">(?P<body>.*?)</block>', re.DOTALL)
_PLAIN_BLOCK = re.compile(
    r"<(?P<label>\w+)>(?P<body>(?:(?!<memory_blocks>).)*?<value>.*?</value>)\s*</(?P=label)>", re.DOTALL
)
_VALUE = re.compile(r"<value>\n?(?P<value>.*?)\n?</value>", re.DOTALL)
_EARLIER = re.compile(r"<summary_of_older_messages>\n(?P<text>.*?)\n</summary_of_older_messages>", re.DOTALL)
_SUMMARY = re.compile(r"\bsummary\b.{0,60}\b(?:messages|conversation)\b", re.IGNORECASE | re.DOTALL)
# As ATLAS' own system prompts begin; another system prompt may say "You are an agent" and name nobody.
_NAME = re.compile(r"^You are (?P<name>[a-z][a-z0-9_]*):(?P<about>[^\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class Persona:
    """Who the model is to be: its agent's name, a line about it, its memory blocks, and older messages in short."""

    name: str = ""
    about: str = ""
    blocks: dict[str, str] = field(default_factory=dict[str, str])
    earlier: str = ""

    @property
    def character(self) -> str:
        """All that is said about who it is."""
        return f"{self.name.replace('_', ' ')} {self.about} {self.blocks.get('persona', '')}"


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered in this turn."""

    name: str
    arguments: dict[str, Any]
    text: str
    failed: bool


@dataclass(frozen=True)
class Prompt:
    """A task as it was put: its sections, and what tools have said about it since."""

    answer: str
    text: str
    results: tuple[ToolResult, ...] = ()
    persona: Persona = Persona()

    def one(self, tag: str) -> str:
        """The body of the first section with that tag, or nothing."""
        found = sections(self.text, tag)
        return found[0].body.strip() if found else ""

    def every(self, tag: str) -> list[Section]:
        """All sections with that tag."""
        return sections(self.text, tag)

    def lines(self, tag: str) -> list[str]:
        """The section's lines, without the dashes before them; "none" stands for none."""
        body = self.one(tag)
        found = [line.strip().removeprefix("- ").strip() for line in body.splitlines() if line.strip()]
        return [] if found == ["none"] else found

    def materials(self) -> list[str]:
        """The names of the materials there are."""
        return [re.sub(r" \(\d+ characters\)$", "", line) for line in self.lines("materials")]

    def reports(self) -> list[tuple[str, Findings]]:
        """The reports, by who made them; one that is no findings counts as text."""
        return [(s.attributes.get("from", ""), _findings(s.body)) for s in self.every("report")]

    def inlined(self) -> list[Passage]:
        """The passages of materials that stand in the prompt itself."""
        return [p for s in self.every("material") for p in passages(s.body, s.attributes.get("name", ""))]

    def found(self) -> list[Passage]:
        """The passages that this turn's searches found and that it read, in their order."""
        hits = [hit for result in self.results if result.name == "search_materials" for hit in _hits(result.text)]
        hits += [hit for result in self.results if result.name == "read_material" for hit in _read(result)]
        return [p for name, start, text in hits for p in passages(whole(text), name, start=start)]

    def evidence(self) -> list[Passage]:
        """The passages that reports give as evidence, in their order."""
        found: list[Passage] = []
        for _, report in self.reports():
            for item in report.evidence:
                found += from_source(passages(item.quote or item.claim, start=len(found)), item.source)
        return found


def read_prompt(messages: list[BaseMessage]) -> Prompt | None:
    """The typed answer that the last message of the user asks for, or None when it asks for none.

    A repair asks again in a second message: then the last full prompt before it is the task.
    """
    turns = [n for n, m in enumerate(messages) if isinstance(m, HumanMessage)]
    if not turns:
        return None
    schema = sections(messages[turns[-1]].text, "answer_schema")
    if not schema:
        return None
    full = next((n for n in reversed(turns) if sections(messages[n].text, "goal")), turns[-1])
    return Prompt(
        schema[-1].attributes.get("title", ""),
        messages[full].text,
        tuple(tool_results(messages[full:])),
        read_persona(messages),
    )


def is_summary(messages: list[BaseMessage]) -> bool:
    """Whether the system message asks for a summary of a conversation, which is nobody's turn."""
    text = "\n".join(m.text for m in messages if isinstance(m, SystemMessage))
    return bool(_SUMMARY.search(text)) and "<memory_blocks>" not in text and not _NAME.search(text)


def tool_results(messages: Iterable[BaseMessage]) -> list[ToolResult]:
    """Every tool call in these messages that was answered, in order."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    found: list[ToolResult] = []
    for message in messages:
        if isinstance(message, AIMessage):
            calls |= {call["id"] or "": (call["name"], call["args"]) for call in message.tool_calls}
        elif isinstance(message, ToolMessage):
            name, arguments = calls.get(message.tool_call_id, (message.name or "", {}))
            found.append(ToolResult(name, arguments, _given(message.text), message.status == "error"))
    return found


def read_persona(messages: list[BaseMessage]) -> Persona:
    """Who the system message says the model is."""
    text = "\n".join(m.text for m in messages if isinstance(m, SystemMessage))
    name = _NAME.search(text)
    found = [*_BLOCK.finditer(text)] or [*_PLAIN_BLOCK.finditer(text)]
    blocks = {m["label"]: value["value"].strip() for m in found if (value := _VALUE.search(m["body"]))}
    earlier = _EARLIER.search(text)
    return Persona(
        name["name"] if name else "",
        name["about"].strip() if name else "",
        blocks,
        earlier["text"].strip() if earlier else "",
    )


def read_json(text: str, model: type[T]) -> T | None:
    """The text as that model, or None."""
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None


def _findings(body: str) -> Findings:
    return read_json(body, Findings) or Findings(text=body or "nothing")


def _given(text: str) -> str:
    """What a tool gave, without what delimits it."""
    given = sections(text, "result")
    return given[0].body if given else text


def _read(result: ToolResult) -> list[tuple[str, int, str]]:
    """What was read of a material, without the line in brackets before it."""
    if result.failed:
        return []
    head, _, rest = result.text.partition("\n")
    text = rest if head.startswith("[") else result.text
    return [(str(result.arguments.get("name", "")), int(result.arguments.get("start") or 0), text)]


def _hits(text: str) -> list[tuple[str, int, str]]:
    """The hits of a search: material, start, text; nothing when the answer was an error."""
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError:
        return []
    hits: Any = cast("dict[str, Any]", content).get("hits") if isinstance(content, dict) else None
    if not isinstance(hits, list):
        return []
    rows = [cast("dict[str, Any]", hit) for hit in cast("list[Any]", hits) if isinstance(hit, dict)]
    return [
        (str(row.get("material", "")), int(row.get("start") or 0), str(row.get("text", "")))
        for row in rows
        if row.get("text")
    ]
