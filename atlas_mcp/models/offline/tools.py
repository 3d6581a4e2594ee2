"""Which tool the offline model calls next while it looks for findings or rates, if any.

A worker searches once for its question, once more for words that the first search did not bring (or reads, where the
question has no words of its own), checks its best quote in the material, and cites it; a rater looks up sentences of
the draft that no report supports. Each is done only where the tool is offered, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from atlas_mcp.model.orders import is_order
from atlas_mcp.models.offline.angle import angle_of_task
from atlas_mcp.models.offline.findings import question, selection
from atlas_mcp.models.offline.goal import words_of_answers
from atlas_mcp.models.offline.passages import Passage
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, surface

Call = tuple[str, dict[str, Any]]
Tools = Mapping[str, Mapping[str, Any]]

MOST_QUERY_WORDS = 8
MOST_CHECKS = 2
MOST_HITS = 12
MOST_READ = 3
PAGE = 12_000


def tools_of(given: Sequence[Mapping[str, Any]]) -> Tools:
    """The bound tools' parameters by name, from their common form."""
    functions = [cast("Mapping[str, Any]", tool.get("function") or tool) for tool in given]
    return {str(f.get("name", "")): cast("Mapping[str, Any]", f.get("parameters") or {}) for f in functions}


def next_call(prompt: Prompt, tools: Tools) -> Call | None:
    """The next tool call for a worker's findings, or None when it is time to answer."""
    if prompt.materials() and not prompt.every("material") and (call := _look(prompt, tools)):
        return call
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


def _look(prompt: Prompt, tools: Tools) -> Call | None:
    """A search; or, for a question without words to search for, the beginnings of the materials one by one."""
    queries = [str(r.arguments.get("query", "")) for r in prompt.results if r.name == "search_materials"]
    if "search_materials" in tools and (query := _next_query(prompt, queries)):
        limit = {"limit": MOST_HITS} if "limit" in tools["search_materials"].get("properties", {}) else {}
        return "search_materials", {"query": query, **limit}
    read = [r.arguments.get("name") for r in prompt.results if r.name == "read_material"]
    left = [name for name in prompt.materials() if name not in read]
    if queries or not left or len(read) >= MOST_READ or "read_material" not in tools:
        return None
    length = {"length": PAGE} if "length" in tools["read_material"].get("properties", {}) else {}
    return "read_material", {"name": left[0], **length}


def _next_query(prompt: Prompt, queries: list[str]) -> str:
    """The question's words, with some that answers and the worker's angle have; then, once, those not brought."""
    asked = question(prompt)
    if not queries:
        own = _in_words(asked, set()) or _in_words(prompt.one("goal"), set())
        if not own:
            return ""
        hints = (*words_of_answers(asked), *angle_of_task(prompt.one("task")).looks_for[:3])
        return " ".join(dict.fromkeys([*own.split(), *hints]))
    found = prompt.found()
    lacking = _in_words(asked, {t for p in found for t in p.bag})
    if len(queries) > 1 or any(r.failed for r in prompt.results):
        return ""
    return lacking if len(lacking.split()) > 1 else "" if found else _in_words(prompt.one("goal"), set())


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
    left = [text for text in unsupported if text not in looked and not is_order(text)]
    if len(looked) >= MOST_CHECKS or not names or not left:
        return None
    arguments = _arguments(Passage(left[0], names[0]), tools["quote_material"])
    return ("quote_material", arguments) if arguments else None
