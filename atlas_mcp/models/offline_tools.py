"""Which tool the offline model calls next while it looks for findings or rates, if any.

A worker searches once for its question, once more for words that the first search did not bring, checks its best quote
in the material, and cites it; a rater looks up sentences of the draft that no report supports. Each is done only where
the tool is offered, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from atlas_mcp.models.offline_findings import question, selection
from atlas_mcp.models.offline_passages import Passage, is_command
from atlas_mcp.models.offline_prompt import Prompt
from atlas_mcp.models.offline_words import asked_terms, surface

Call = tuple[str, dict[str, Any]]
Tools = Mapping[str, Mapping[str, Any]]

MOST_QUERY_WORDS = 8
MOST_CHECKS = 2


def tools_of(given: Sequence[Mapping[str, Any]]) -> Tools:
    """The bound tools' parameters by name, from their common form."""
    functions = [cast("Mapping[str, Any]", tool.get("function") or tool) for tool in given]
    return {str(f.get("name", "")): cast("Mapping[str, Any]", f.get("parameters") or {}) for f in functions}


def next_call(prompt: Prompt, tools: Tools) -> Call | None:
    """The next tool call for a worker's findings, or None when it is time to answer."""
    if "search_materials" in tools and prompt.materials() and not prompt.every("material"):
        queries = [str(r.arguments.get("query", "")) for r in prompt.results if r.name == "search_materials"]
        if query := _next_query(prompt, queries):
            return "search_materials", {"query": query}
    chosen = [p for p in selection(prompt) if p.source in prompt.materials()]
    if not chosen:
        return None
    best = chosen[0]
    for name in ("quote_material", "cite_source"):
        if name in tools and not any(r.name == name for r in prompt.results):
            arguments = _arguments(best, tools[name])
            if arguments is not None:
                return name, arguments
    return None


def _next_query(prompt: Prompt, queries: list[str]) -> str:
    """The question's words; then, once, those of question and goal that the first search did not bring."""
    if not queries:
        return _in_words(question(prompt), set()) or _in_words(prompt.one("goal"), set())
    if len(queries) > 1 or any(r.failed for r in prompt.results):
        return ""
    found = {t for p in prompt.found() for t in p.bag}
    again = _in_words(f"{question(prompt)} {prompt.one('goal')}", found)
    return "" if again == queries[0] else again


def _in_words(text: str, without: set[str]) -> str:
    written = surface(text)
    kept = [written.get(t, t) for t in asked_terms(text) if t not in without]
    return " ".join(kept[:MOST_QUERY_WORDS])


def _arguments(passage: Passage, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The passage as arguments of a tool with that schema; None when it requires something unknown."""
    values = {
        "claim": passage.line,
        "source": passage.source,
        "material": passage.source,
        "name": passage.source,
        "quote": passage.text,
        "text": passage.text,
        "words": passage.text,
    }
    properties = cast("Mapping[str, Any]", schema.get("properties") or {})
    required = cast("Sequence[str]", schema.get("required") or [])
    if any(name not in values for name in required):
        return None
    return {name: values[name] for name in properties if name in values}


def check_call(prompt: Prompt, tools: Tools, unsupported: Sequence[str]) -> Call | None:
    """A rater's look into the materials for a sentence that no report supports, or None."""
    looked = [r.arguments.get("quote") for r in prompt.results if r.name == "quote_material"]
    names = prompt.materials()
    left = [text for text in unsupported if text not in looked and not is_command(text)]
    if len(looked) >= MOST_CHECKS or not names or not left:
        return None
    arguments = _arguments(Passage(left[0], names[0]), tools["quote_material"])
    return ("quote_material", arguments) if arguments else None
