"""What another server says of its tools, checked, cleaned and bounded: it is data, written by a stranger.

Promise: what is listed can be offered to a model and called. A tool that cannot is left out, with a sentence that says
why. What a tool's server says of it is told as that server's words, without characters that hide or reorder text. A
schema is checked before it is used, never looks anything up elsewhere, and never takes long to apply.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.model.turn import ToolSpec
from atlas_mcp.reach.servers.schemas import BadSchemaError, checker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atlas_mcp.model.permissions import Mark
    from atlas_mcp.reach.servers.config import ServerConfig

Told = dict[str, Any]
"""What a server says of a tool, in the words of the wire."""
MOST_TOOLS = 128
"""Of one server."""
MOST_CHARS = 4_000
"""Of a description; the rest is cut off."""
MOST_TOLD = 60_000
"""Characters of all that a server says of one tool."""
MOST_DEPTH = 24
_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")
_LONGEST = 64
_LETTAS = frozenset(
    {
        "send_message",
        "conversation_search",
        "archival_memory_insert",
        "archival_memory_search",
        "core_memory_append",
        "core_memory_replace",
        "memory_insert",
        "memory_replace",
        "memory_rethink",
        "memory",
    }
)


@dataclass(frozen=True)
class Listed:
    """A tool as its server lists it. `told` is what a model is told, and what the user approves; `flag` is why what it
    says looks like an order to the model, or ""."""

    tool: str
    told: Told
    sha256: str
    spec: ToolSpec
    marks: tuple[Mark, ...]
    flag: str
    check: Callable[[Any], str]
    check_answer: Callable[[Any], str]

    @property
    def name(self) -> str:
        """What agents call it."""
        return self.spec.name


@dataclass(frozen=True)
class Listing:
    """The tools that can be used, and a sentence for each that cannot, or not wholly."""

    tools: tuple[Listed, ...] = ()
    notes: tuple[str, ...] = ()


class _UnusableError(Exception):
    """Raised for a tool that cannot be offered; the text says why."""


def told_of(tool: Any) -> Told:
    """What an mcp Tool says of itself, as plain values."""
    return tool.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include={"name", "title", "description", "input_schema", "output_schema", "annotations"},
    )


def check_listing(config: ServerConfig, tools: Iterable[Told], flagged: Callable[[str], str]) -> Listing:
    """The tools of a server; `flagged` says why a text looks like an order. What collides with a tool of ours is the
    toolbox's to tell."""
    found: dict[str, Listed] = {}
    notes: list[str] = []
    for number, told in enumerate(tools):
        if number == MOST_TOOLS:
            notes.append(f"It lists more than {MOST_TOOLS} tools: the others are left out.")
            break
        try:
            listed = _listed(config, told, flagged)
            if listed.name in _LETTAS:
                raise _UnusableError(f"agents have a tool {listed.name} of their Letta; give the server another name")
            if listed.name in found:
                raise _UnusableError(f"another tool of it is called {listed.name} too")
            found[listed.name] = listed
        except (_UnusableError, BadSchemaError) as reason:
            notes.append(f"Tool {_shown(told.get('name'))} is left out: {reason}.")
    return Listing(tuple(found.values()), tuple(notes))


def _listed(config: ServerConfig, told: Told, flagged: Callable[[str], str]) -> Listed:
    tool = told["name"]
    if not _NAME.fullmatch(tool):
        raise _UnusableError("its name is not one of up to 128 letters, digits, _, -, . and /")
    name = config.prefix + re.sub(r"[./]", "_", tool)
    if len(name) > _LONGEST:
        raise _UnusableError(f"{name} has {len(name)} characters, and names may have {_LONGEST}; shorten the server's")
    schema = clean(told.get("inputSchema") or {})
    if schema.get("type") != "object":
        raise _UnusableError("its schema is not one of an object")
    text = clean(str(told.get("description") or told.get("title") or "")).strip()
    said = f"{text[:MOST_CHARS]} (cut off)" if len(text) > MOST_CHARS else text
    about = f"A tool of {config.name}, another server, which says of it: «{said or 'nothing'}»"
    plain = json.dumps(told, sort_keys=True, ensure_ascii=False)
    if len(plain) > MOST_TOLD:
        raise _UnusableError(f"what it says of itself has {len(plain):,} characters; it may have {MOST_TOLD:,}")
    return Listed(
        tool=tool,
        told=told,
        sha256=hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest(),
        spec=ToolSpec(name=name, description=about, parameters=schema),
        marks=_marks(told.get("annotations") or {}),
        flag=flagged(plain),
        check=checker(schema),
        check_answer=checker(told["outputSchema"]) if told.get("outputSchema") else _nothing_wrong,
    )


def _marks(annotations: dict[str, Any]) -> tuple[Mark, ...]:
    """What the tool does at worst, by what its server says; as the specification has it, without a word it destroys."""
    if annotations.get("readOnlyHint") is True:
        return ("read",)
    return ("write",) if annotations.get("destructiveHint") is False else ("destroy",)


def clean(value: Any, depth: int = 0) -> Any:
    """The same without characters that are not seen: controls, and those that hide text or turn its direction."""
    if depth > MOST_DEPTH:
        raise _UnusableError(f"its schema is more than {MOST_DEPTH} levels deep")
    if isinstance(value, str):
        return "".join(c for c in value if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    if isinstance(value, dict):
        return {clean(str(k)): clean(v, depth + 1) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [clean(v, depth + 1) for v in cast("list[Any]", value)]
    return value


def _nothing_wrong(_value: Any) -> str:
    return ""


def _shown(name: Any) -> str:
    return repr(str(name)[:80])
