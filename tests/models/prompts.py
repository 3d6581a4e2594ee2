"""Prompts as teamwork writes them, in short, and a small team task on the offline model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from atlas_mcp.model.sections import section
from atlas_mcp.model.task import DEFAULT_CRITERIA
from atlas_mcp.model.work import Draft, Findings, Verdict
from atlas_mcp.models.chat import Models
from atlas_mcp.models.config import ModelConfig

T = TypeVar("T", bound=BaseModel)

NAME = "federalist-10.md"
GOAL = (
    "Explain what Madison means by a faction, why its causes cannot be removed, "
    "and how a large republic controls its effects."
)
TEAMS = (
    "research (work): finds out what is so: searches, reads, quotes and checks sources; workers: reader, checker\n"
    "analysis (work): works out what follows: measures, compares, prices and recommends; workers: data, money\n"
    "writing (writing): makes findings into a text; workers: writer\n"
    "rating (rating): judges the text; workers: a, b"
)
WORKERS = "reader: Reads the documents closely.\nchecker: Checks claim by claim.\nbroker: Follows the money."


@cache
def federalist() -> str:
    """The shipped text."""
    return (files("atlas_mcp") / "data" / NAME).read_text(encoding="utf-8")


def prompt(answer: str, **bodies: str | Sequence[str]) -> str:
    """A prompt with these sections, in this order; `report_NAME` and `material_NAME` are those of that name."""
    parts: list[str] = []
    for key, body in bodies.items():
        tag, _, name = key.partition("__")
        attribute = {"report": "from", "material": "name"}.get(tag)
        text = body if isinstance(body, str) else "\n".join(f"- {line}" for line in body)
        parts.append(section(tag, text, **({attribute: name} if attribute else {})))
    return "\n\n".join(["Do this.", *parts, section("answer_schema", "{}", title=answer)])


@tool
def search_materials(query: str, limit: int = 8) -> str:
    """Search the materials."""
    words = set(query.lower().split())
    paragraphs = [p for p in federalist().split("\n\n") if not p.startswith("#")]
    ranked = sorted(paragraphs, key=lambda p: -len(words & set(p.lower().replace(",", " ").split())))
    hits = [{"material": NAME, "start": federalist().index(p), "text": p} for p in ranked[:limit]]
    return json.dumps({"hits": hits})


@tool
def quote_material(name: str, quote: str) -> str:
    """Check a quote."""
    return json.dumps({"found": name == NAME and quote in federalist(), "material": name})


@tool
def cite_source(claim: str, source: str, quote: str) -> str:
    """Note a source."""
    return "Noted."


TOOLS = (search_materials, quote_material, cite_source)


async def ask(text: str, answer: type[T], *, system: str = "", tools: Sequence[Any] = ()) -> T:
    """The offline model's typed answer, through an agent."""
    return answer.model_validate_json((await turn(text, system=system, tools=tools))[-1].text)


async def turn(text: str, *, system: str = "", tools: Sequence[Any] = (), delay: float = 0) -> list[Any]:
    """All messages of one turn of the offline model, through an agent."""
    model = await Models(ModelConfig(offline_delay=delay)).chat("atlas/offline")
    agent = create_agent(model, list(tools), system_prompt=system or None)
    return (await agent.ainvoke({"messages": [HumanMessage(text)]}))["messages"]


def tool_calls(messages: Sequence[Any]) -> list[str]:
    """The names of the tools that were called, in order."""
    return [call["name"] for m in messages if isinstance(m, AIMessage) for call in m.tool_calls]


async def research(task: str = "Find and quote: what a faction is; why its causes cannot be removed; how a large "
                   "republic controls its effects") -> Findings:  # fmt: skip
    """Findings on the shipped text, by search."""
    text = prompt("Findings", goal=GOAL, task=task, materials=f"- {NAME} ({len(federalist())} characters)")
    return await ask(text, Findings, tools=TOOLS)


async def rate(
    draft: Draft, reports: Mapping[str, Findings], *, goal: str = GOAL, criteria: Sequence[str] = DEFAULT_CRITERIA,
    rater: str = "", **more: str,
) -> dict[str, float]:  # fmt: skip
    """The lowest score for each criterion."""
    scores = (await verdict(draft, reports, goal=goal, criteria=criteria, rater=rater, **more)).scores
    return {c: min(s.score for s in scores if s.criterion == c) for c in criteria}


async def verdict(
    draft: Draft, reports: Mapping[str, Findings], *, goal: str = GOAL, criteria: Sequence[str] = DEFAULT_CRITERIA,
    rater: str = "", **more: str,
) -> Verdict:  # fmt: skip
    """The offline model's verdict."""
    given = {f"report__{name}": found.model_dump_json() for name, found in reports.items()}
    text = prompt("Verdict", goal=goal, criteria=list(criteria), draft=draft.model_dump_json(), **given, **more)
    return await ask(text, Verdict, system=rater)
