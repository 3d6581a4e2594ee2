"""How much of what is asked for a search finds: memories and questions as cases, put into a record and asked there.

Recall at k is the share of what a question wants that is among its first k hits, and its mean over all questions.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import update

from atlas_mcp.memory.documents import Origin, add_passages
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.memory_rows import remove
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.knowledge import CALLER_TRUST, Hit
from atlas_mcp.model.memory_item import New
from atlas_mcp.model.memory_kinds import MemoryKind, scopes_of
from atlas_mcp.store.record import Record
from atlas_mcp.store.tables import passage

OWN = Path(__file__).parent / "recall_set"
ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
KINDS: tuple[MemoryKind, ...] = ("working", "short_term", "episodic", "long_term", "procedural", "knowledge")
DEEPEST = 10


@dataclass(frozen=True)
class Question:
    """What is asked, by whom, and which memories are to be found; all by their ids."""

    ask: str
    wants: tuple[str, ...]
    group: str
    before: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    agent: str | None = None
    team: str | None = None
    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def scope(self, caller: Caller) -> Scope:
        """Where it is asked."""
        seen = scopes_of(self.agent, self.team) if self.agent else ()
        return Scope(caller, KINDS, project=self.project, scopes=seen, since=self.since, until=self.until)


@dataclass
class Case:
    """Memories, and questions about these only."""

    memories: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    questions: list[Question] = field(default_factory=list[Question])


@dataclass
class Score:
    """What was found of what was asked for."""

    at5: list[float] = field(default_factory=list[float])
    at10: list[float] = field(default_factory=list[float])
    leaks: list[str] = field(default_factory=list[str])
    disorder: list[str] = field(default_factory=list[str])
    groups: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def line(self) -> str:
        """All of it on one line."""
        groups = ", ".join(f"{name} {statistics.mean(each):.3f}" for name, each in self.groups.items())
        at5, at10 = statistics.mean(self.at5), statistics.mean(self.at10)
        return f"R@5 {at5:.3f}, R@10 {at10:.3f} ({len(self.at5)} questions); R@5 of each: {groups}"

    def add(self, question: Question, hits: Sequence[Hit]) -> None:
        """Count the answer to one question."""
        found = list(dict.fromkeys(hit.id.rsplit("/", 1)[0] for hit in hits))
        first = found[:5]
        self.at5.append(_share(question.wants, first))
        self.at10.append(_share(question.wants, found[:DEEPEST]))
        self.groups.setdefault(question.group, []).append(self.at5[-1])
        self.leaks += [f"{question.ask}: {one}" for one in question.never if one in found]
        places = [found.index(one) for one in question.before if one in found]
        if places != sorted(places) or (question.before and question.before[0] not in found):
            self.disorder.append(question.ask)


def own() -> Case:
    """The set that comes with the tests."""
    case = Case()
    for path in sorted(OWN.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            one: dict[str, Any] = json.loads(line)
            if "memory" in one:
                case.memories.append(one)
                continue
            moments = {name: _moment(one[name]) for name in ("since", "until") if name in one}
            lists = {name: tuple(one.get(name, ())) for name in ("wants", "before", "never")}
            given: dict[str, Any] = {"group": path.stem} | one | lists | moments
            case.questions.append(Question(**given))
    return case


def locomo(path: Path) -> Iterator[Case]:
    """The conversations of LoCoMo's `locomo10.json`, a memory a turn; questions of the categories 1 to 4."""
    for number, sample in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        talk, name = sample.get("conversation", sample), str(sample.get("sample_id", number))
        turns = [turn for part, value in talk.items() if re.fullmatch(r"session_\d+", part) for turn in value]
        case = Case([{"memory": f"{name}/{t['dia_id']}", "text": f"{t['speaker']}: {t['text']}"} for t in turns])
        known = {one["memory"] for one in case.memories}
        for asked in sample["qa"]:
            evidence = [
                f"{name}/{one}" for given in asked.get("evidence", ()) for one in re.findall(r"D\d+:\d+", given)
            ]
            wants = tuple(dict.fromkeys(one for one in evidence if one in known))
            if wants and asked.get("category") in (1, 2, 3, 4):
                case.questions.append(Question(asked["question"], wants, f"category {asked['category']}"))
        yield case


def longmemeval(path: Path) -> Iterator[Case]:
    """The questions of LongMemEval's files, each with its own sessions, a memory a session; no abstentions."""
    for one in json.loads(path.read_text(encoding="utf-8")):
        if one["question_id"].endswith("_abs"):
            continue
        case = Case()
        for name, turns in zip(one["haystack_session_ids"], one["haystack_sessions"], strict=True):
            told = "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
            case.memories.append({"memory": f"{one['question_id']}/{name}", "text": told})
        wants = tuple(f"{one['question_id']}/{name}" for name in one["answer_session_ids"])
        case.questions.append(Question(one["question"], wants, one["question_type"]))
        yield case


async def put(record: Record, case: Case) -> None:
    """Put the memories of the own set into the record, as their owners would."""
    for caller, name in ((ME, "me"), (OTHER, "other")):
        mine = [one for one in case.memories if one.get("caller", "me") == name]
        for one in mine:  # one after the other: a later one with the same key takes the earlier one's place
            given = {"kind": "long_term", "id": one["memory"]} | {k: v for k, v in one.items() if k in New.model_fields}
            await Memories(caller, record).add(New.model_validate(given))
        async with record.write() as db:
            for one in mine:
                if one.get("deleted"):
                    await remove(db, caller, one["memory"])
                if "at" in one:
                    of_it = passage.c.source == one["memory"]
                    await db.execute(update(passage).where(of_it).values(at=_moment(one["at"])))


async def put_plainly(record: Record, case: Case, caller: Caller, cut: Any) -> None:
    """Put memories of other sets into the record, as passages of nothing else."""
    now = datetime.now(UTC)
    async with record.write() as db:
        for one in case.memories:
            origin = Origin("long_term", one["memory"], "", "", "caller", CALLER_TRUST, now)
            await add_passages(db, caller, origin, cut(one["text"]))


async def ask(finder: Finder, questions: Iterable[Question], caller: Caller, score: Score, limit: int) -> None:
    """Ask them all, and count what is found."""
    for question in questions:
        found = await finder.find(question.scope(caller), Query(question.ask), limit)
        score.add(question, found.hits)


def _share(wanted: Sequence[str], found: Sequence[str]) -> float:
    return sum(one in found for one in wanted) / len(wanted)


def _moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
