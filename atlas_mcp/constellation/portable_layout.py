"""Which entry of a package file holds what.

| entry | holds |
|---|---|
| roster.json | the roster with its personas |
| agents.json, blocks.json | the agents that had been created; blocks with all revisions |
| archives/AGENT.json | an agent's archive |
| groups.json, knowledge.json | what was added to the roster and said in groups; documents, what is remembered |
| history.json | every turn: message, answer, what it changed and cost |
| runs/RUN_ID.json | a run that has ended, with its result, journal and texts |
| tools/NAME.py | source of the user's own tools |

Promise: what is read is consistent: nothing is there twice, and nothing refers to what is not there.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from atlas_mcp.constellation.portable_entries import (
    AgentEntry,
    BlockEntry,
    Groups,
    Knowledge,
    Package,
    PassageEntry,
    RunEntry,
    TurnEntry,
)
from atlas_mcp.model.agent import Roster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_T = TypeVar("_T")
_AGENTS = TypeAdapter(tuple[AgentEntry, ...])
_BLOCKS = TypeAdapter(tuple[BlockEntry, ...])
_PASSAGES = TypeAdapter(tuple[PassageEntry, ...])
_TURNS = TypeAdapter(tuple[TurnEntry, ...])
_RUN = TypeAdapter(RunEntry)
_WHOLE: dict[str, tuple[str, TypeAdapter[Any]]] = {
    "roster.json": ("roster", TypeAdapter(Roster)),
    "agents.json": ("agents", _AGENTS),
    "blocks.json": ("blocks", _BLOCKS),
    "groups.json": ("groups", TypeAdapter(Groups)),
    "knowledge.json": ("knowledge", TypeAdapter(Knowledge)),
    "history.json": ("history", _TURNS),
}
_ARCHIVE = re.compile(r"archives/([a-z][a-z0-9_]{0,99})\.json")
_RUN_FILE = re.compile(r"runs/([A-Za-z0-9][A-Za-z0-9_-]{0,99})\.json")
_TOOL = re.compile(r"tools/([a-z][a-z0-9_]{0,99})\.py")


class BrokenEntry(ValueError):
    """Raised for an entry that cannot be used; stays within the package's readers."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


def to_files(package: Package) -> dict[str, bytes]:
    """The package's entries by name, in their order."""
    files = {name: _json(kind, getattr(package, part)) for name, (part, kind) in _WHOLE.items()}
    files |= {f"archives/{agent}.json": _json(_PASSAGES, package.archives[agent]) for agent in sorted(package.archives)}
    runs = sorted(package.runs, key=lambda run: (run.created_at, run.id))
    files |= {f"runs/{run.id}.json": _json(_RUN, run) for run in runs}
    return files | {f"tools/{name}.py": package.tools[name].encode() for name in sorted(package.tools)}


def from_files(files: Mapping[str, bytes]) -> Package:
    """The package with these entries; raises BrokenEntry."""
    parts: dict[str, Any] = {}
    archives: dict[str, tuple[PassageEntry, ...]] = {}
    runs: list[RunEntry] = []
    tools: dict[str, str] = {}
    for name, content in files.items():
        if name in _WHOLE:
            part, kind = _WHOLE[name]
            parts[part] = _read(name, kind, content)
        elif found := _ARCHIVE.fullmatch(name):
            archives[found[1]] = _read(name, _PASSAGES, content)
        elif found := _RUN_FILE.fullmatch(name):
            runs.append(_read(name, _RUN, content))
            if runs[-1].id != found[1]:
                raise BrokenEntry(name, f"it holds the run {runs[-1].id!r}")
        elif found := _TOOL.fullmatch(name):
            tools[found[1]] = _text(name, content)
        else:
            raise BrokenEntry(name, "a package has no such entry")
    if missing := [name for name, (part, _) in _WHOLE.items() if part not in parts]:
        raise BrokenEntry(missing[0], "it is missing")
    package = Package(**parts, archives=archives, runs=tuple(runs), tools=tools)
    _check(package)
    return package


def _check(package: Package) -> None:
    """Refuse what could not be restored: doubles, and references to what is not there."""
    agents = {agent.name for agent in package.agents}
    _once("agents.json", (a.name for a in package.agents))
    _once("blocks.json", ((b.owner, b.label) for b in package.blocks))
    _once("history.json", (t.id for t in package.history))
    _once("history.json", (t.key for t in package.history))
    _once("knowledge.json", (d.id for d in package.knowledge.documents))
    _once("knowledge.json", ((d.project, d.author, d.name) for d in package.knowledge.documents))
    _once("knowledge.json", (one.id for one in package.knowledge.learnings))
    _once("knowledge.json", ((p.source, p.ordinal) for p in package.knowledge.passages))
    _once("groups.json", ((a.kind, a.name) for a in package.groups.additions))
    _once("groups.json", (c.id for c in package.groups.conversations))
    for block in package.blocks:
        _once("blocks.json", (r.number for r in block.revisions))
    for talk in package.groups.conversations:
        _once("groups.json", (m.number for m in talk.messages))
        _once("groups.json", (m.key for m in talk.messages))
    for run in package.runs:
        _once(f"runs/{run.id}.json", (e.seq for e in run.events))
        _once(f"runs/{run.id}.json", (e.key for e in run.events if e.key is not None))
        _once(f"runs/{run.id}.json", (a.name for a in run.artifacts))
    for agent in package.archives:
        if agent not in agents:
            raise BrokenEntry(f"archives/{agent}.json", "agents.json does not have this agent")
    for block in package.blocks:
        if re.fullmatch(r"[a-z][a-z0-9_]*", block.owner) and block.owner not in agents:
            raise BrokenEntry("blocks.json", f"it has a block of {block.owner!r}, whom agents.json does not have")


def _once(name: str, keys: Iterable[Any]) -> None:
    twice = [key for key, times in Counter(keys).items() if times > 1]
    if twice:
        raise BrokenEntry(name, f"{twice[0]!r} is there twice")


def _read(name: str, kind: TypeAdapter[_T], content: bytes) -> _T:
    try:
        return kind.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BrokenEntry(name, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BrokenEntry(name, "it is not text in UTF-8") from error


def _json(kind: TypeAdapter[Any], value: BaseModel | Iterable[Any]) -> bytes:
    return kind.dump_json(value, indent=1) + b"\n"
