"""Agents and a journal in memory, for what only a script can bring about: bad answers, failing workers, low ratings."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from atlas_mcp.constellation.names import turn_id
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.errors import Waiting
from atlas_mcp.model.agent import AgentSpec, Roster, TeamSpec
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.context import ContextItem, SectionName
from atlas_mcp.model.learning import Judged, Known, Learning
from atlas_mcp.model.memory import Block
from atlas_mcp.model.plan import Lack, Plan
from atlas_mcp.model.question import Asking
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Event, Progress
from atlas_mcp.model.sections import sections
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.model.usage import Usage
from atlas_mcp.reach.sources import Source, SourceName, plain
from atlas_mcp.runs.changes import Change, Entry, Kept, Spent
from atlas_mcp.teamwork import fitness
from atlas_mcp.teamwork.heard import OnlyAsking
from atlas_mcp.teamwork.task import run_team_task

ME = Caller(id="local:me")
TEXT = "The keeper lit the lamp at dusk.\nHe wrote down the weather, every hour, “without fail”."
MATERIAL = Material(name="log.txt", text=TEXT)
QUOTE = "The keeper lit the lamp at dusk."
Answer = Callable[[str, str], Any]


def _agent(name: str, team: str | None, role: Any = "worker", needs: tuple[str, ...] = ()) -> AgentSpec:
    return AgentSpec(name=name, role=role, description=f"does {name}", persona=name, team=team, needs=needs)


ROSTER = Roster(
    name="small",
    blocks=(),
    agents=(
        _agent("chief", None, "global_supervisor"),
        _agent("librarian", None, "librarian"),
        _agent("research_lead", "research", "supervisor"),
        _agent("reader", "research"),
        _agent("checker", "research"),
        _agent("surfer", "research", needs=("search_web",)),
        _agent("analysis_lead", "analysis", "supervisor"),
        _agent("thinker", "analysis"),
        _agent("market_lead", "market", "supervisor"),
        _agent("trader", "market", needs=("quote_stock",)),
        _agent("writing_lead", "writing", "supervisor"),
        _agent("writer", "writing"),
        _agent("editor", "writing"),
        _agent("rating_lead", "rating", "supervisor"),
        _agent("rater_a", "rating"),
        _agent("rater_b", "rating"),
    ),
    teams=(
        TeamSpec(name="research", purpose="finds", supervisor="research_lead", workers=("reader", "checker", "surfer")),
        TeamSpec(name="analysis", purpose="thinks", supervisor="analysis_lead", workers=("thinker",)),
        TeamSpec(name="market", purpose="trades", supervisor="market_lead", workers=("trader",)),
        TeamSpec(
            name="writing", kind="writing", purpose="writes", supervisor="writing_lead", workers=("writer", "editor")
        ),
        TeamSpec(
            name="rating", kind="rating", purpose="rates", supervisor="rating_lead", workers=("rater_a", "rater_b")
        ),
    ),
)


class Tools:
    """No tools but one that submits."""

    available = frozenset({"search_materials"})

    def session(self, agent: AgentSpec, run: Any, turn: Any = None) -> Any:
        return Session(run)

    def lacks(self, agent: AgentSpec) -> list[Lack]:
        return [
            Lack(what=tool, why="none", how_to_add=f"Write {tool}.py.")
            for tool in agent.needs
            if tool not in self.available
        ]


class Session:
    specs = ()
    turn = ToolTurn()

    def __init__(self, run: Any) -> None:
        self.run = run

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        if name == "ask_caller":
            await self.run.ask_caller(arguments["question"], arguments.get("options", []))
        else:
            await getattr(self.run, name)(arguments)
        return "ok"


class ScriptedMemory:
    """What was learned, in a list. What is recalled is that, and `items`; `asked` says for what it was looked for."""

    def __init__(self) -> None:
        self.judged: list[Judged] = []
        self.items: list[ContextItem] = []
        self.asked: list[str] = []
        self.gone: set[str] = set()

    async def about(self, asked: str, *, project: str | None = None) -> list[ContextItem]:
        self.asked.append(asked)
        learned = [one.learning for one in self.judged if one.kept]
        return [*self.items, *(self._item(one) for one in learned)]

    async def forgotten(self, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(self.gone.intersection(ids))

    def _item(self, one: Learning) -> ContextItem:
        section: SectionName = "memories" if one.kind == "fact" else "procedures"
        return ContextItem(
            id=one.id, section=section, text=one.text, source=f"{one.run_id}, {one.source}", kind=one.kind
        )

    async def near(self, text: str) -> list[Known]:
        return [Known(text=one.learning.text) for one in self.judged if one.kept]

    async def keys(self) -> list[str]:
        return [one.learning.key for one in self.judged if one.kept and one.learning.key]

    async def keep(self, judged: Sequence[Judged]) -> None:
        known = {one.learning.id for one in self.judged}
        self.judged += [one for one in judged if one.learning.id not in known]


class ScriptedSources:
    """What agents were given from outside, in a list."""

    def __init__(self) -> None:
        self.given: list[Source] = []

    async def named(self, run_id: str, names: Iterable[str]) -> list[Source]:
        wanted = {plain(name) for name in names}
        return [one for one in self.given if plain(one.name) in wanted]

    async def listed(self, run_id: str) -> list[SourceName]:
        return [*self.given]


class ScriptedAgents:
    """Answers by rules: `on(agent, title, answer)` where answer is an object, a text, an exception, a list of those in
    turn (the last one stays), or a function of (agent, prompt). Without a rule everybody does a decent job."""

    def __init__(self, roster: Roster = ROSTER) -> None:
        self.roster = roster
        self.toolbox = Tools()
        self.rules: dict[tuple[str, str], Any] = {}
        self.turns: list[tuple[str, str, str]] = []
        self.prompts: list[tuple[str, str]] = []
        self.stored: dict[str, TurnResult] = {}
        self.seen: Counter[str] = Counter()
        self.pause: Callable[[str, str], Awaitable[None]] | None = None
        self.learnings = self.remembered = ScriptedMemory()
        self.sources = ScriptedSources()
        self.blocks: list[Block] = []
        self.hosted: list[AgentSpec] = []
        self.dismissed: list[tuple[str, bool]] = []
        self.use_tools: Callable[[str, Any], Awaitable[None]] | None = None
        self.asks: Callable[[str, OnlyAsking], Awaitable[None]] | None = None

    def on(self, agent: str, title: str, *answers: Any) -> None:
        self.rules[agent, title] = list(answers)

    def hosting(self, run_id: str, guests: tuple[AgentSpec, ...]) -> ScriptedAgents:
        self.hosted += [guest for guest in guests if guest not in self.hosted]
        return self

    async def dismiss(self, run_id: str, *, ended: bool) -> bool:
        self.dismissed.append((run_id, ended))
        return True

    async def get_memory(self, agent: str) -> list[Block]:
        return self.blocks

    async def take_turn(
        self,
        agent: str,
        message: str,
        *,
        conversation: str | None,
        key: str,
        run_id: str | None = None,
        tools: Any = None,
        on_event: Any = None,
        asked_by: Any = None,
    ) -> TurnResult:
        if key in self.stored:
            return self.stored[key]
        if isinstance(tools, OnlyAsking) and self.asks:
            await self.asks(agent, tools)
        tools = tools if isinstance(tools, Session) else None  # who only asks the caller uses none of the run's
        title = sections(message, "answer_schema")[0].attributes["title"]
        self.turns.append((agent, title, key))
        self.prompts.append((agent, message))
        if self.pause:
            await self.pause(agent, title)
        if tools and self.use_tools:
            await self.use_tools(agent, tools)
            await on_event(agent, "tool_called", f"{agent} used a tool", turn_id=turn_id(ME, key), key=f"{key}:tool")
        reply = self._answer(agent, title, message)
        thread = conversation if conversation != "new" else f"conv-{key}"
        self.stored[key] = TurnResult(
            turn_id=turn_id(ME, key),
            agent=agent,
            conversation=thread or "",
            reply=reply if isinstance(reply, str) else json.dumps(reply),
            usage=Usage(turns=1, input_tokens=10, output_tokens=5),
        )
        return self.stored[key]

    def _answer(self, agent: str, title: str, message: str) -> Any:
        rule = self.rules.get((agent, title)) or self.rules.get(("*", title))
        answer: Any = DEFAULTS.get(title)
        if rule:
            place = f"{agent}/{title}"
            answer = rule[min(self.seen[place], len(rule) - 1)]
            self.seen[place] += 1
        if callable(answer) and not isinstance(answer, type):
            answer = answer(agent, message)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def asked(self, title: str, agent: str | None = None) -> int:
        """How many turns were really taken."""
        return sum(1 for a, t, _ in self.turns if t == title and agent in (None, a))


def plan(*parts: tuple[str, str, list[str]]) -> dict[str, Any]:
    return {"parts": [{"id": i, "team": t, "task": f"do {i}", "depends_on": d} for i, t, d in parts]}


def give(*workers: str) -> dict[str, Any]:
    return {"assignments": [{"worker": w, "task": f"find for {w}"} for w in workers]}


def found(text: str = "it was lit at dusk", quote: str = QUOTE, source: str = "log.txt") -> dict[str, Any]:
    return {"text": text, "evidence": [{"claim": "the lamp was lit", "source": source, "quote": quote}]}


def draft(*sections_: tuple[str, str]) -> dict[str, Any]:
    return {"title": "T", "sections": [{"id": i, "heading": f"H {i}", "text": t} for i, t in sections_]}


def rate_all(score: float, reason: str = "because", section: str = "", *, honest: bool = True) -> Answer:
    """The same score for everything, for the text's first words; one who is honest fails a text that was damaged."""

    def rate(agent: str, prompt: str) -> Any:
        given = score if not honest or fitness.FALSE_CLAIM not in prompt else 1.0
        return {"scores": [judged(c, given, prompt, reason, section) for c in criteria_in(prompt)]}

    return rate


def criteria_in(prompt: str) -> list[str]:
    return [line[2:] for line in sections(prompt, "criteria")[0].body.splitlines()]


def judged(criterion: str, score: Any, prompt: str, reason: str = "because", section: str = "") -> dict[str, Any]:
    return {"criterion": criterion, "score": score, "reason": reason, "section": section, "quote": quoted(prompt)}


def quoted(prompt: str) -> str:
    """The first words of the draft in the prompt."""
    first = json.loads(sections(prompt, "draft")[0].body)["sections"][0]["text"]
    return " ".join(first.split()[:4])


def _delegate(agent: str, prompt: str) -> Any:
    names = [line.split(":")[0] for line in sections(prompt, "workers")[0].body.splitlines()]
    return give(names[0]) if agent == "writing_lead" else give(*names)


DEFAULTS: dict[str, Any] = {
    "Plan": plan(("facts", "research", []), ("sense", "analysis", ["facts"])),
    "Delegation": _delegate,
    "Findings": found(),
    "Draft": draft(("s1", "The lamp was lit."), ("s2", "The weather was noted.")),
    "Verdict": rate_all(4.5),
    "Decision": {"action": "without", "reason": "it goes without"},
    "Proposals": {"learnings": []},
}


class MemoryRun:
    """A run in memory that keeps the promises of a real one: keys count once."""

    def __init__(self, run_id: str = "run-1") -> None:
        self.run_id = run_id
        self.caller = ME
        self.resumed = False
        self.events: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.artifacts: dict[str, str] = {}
        self.usage = Usage()
        self.plan: Plan | None = None
        self.result: Result | None = None
        self.progress: list[tuple[int, int, str]] = []
        self.spent: set[str] = set()
        self.questions: dict[str, Asking] = {}
        self.answers: dict[str, str] = {}

    async def put(self, asking: Asking, *, key: str, most: int | None = None) -> bool:
        self.questions[key] = asking
        return True

    async def ask(self, asking: Asking, *, key: str) -> str:
        self.questions[key] = asking
        if key not in self.answers:
            raise Waiting(self.run_id)
        return self.answers[key]

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object:
        self.tell(Entry(actor, type, text, turn_id, data, key))
        return None

    async def write(self, *changes: Change) -> None:
        self.tell(*changes)

    def tell(self, *changes: Change) -> None:
        for change in changes:
            match change:
                case Entry(actor, type, text, turn_id, data, key):
                    if key is None or key not in self.keys:
                        self.keys.add(key or "")
                        self.events.append({"actor": actor, "type": type, "text": text, "turn_id": turn_id, **data})
                case Kept(name, text):
                    self.artifacts[name] = text
                case Spent(usage, key):
                    if key not in self.spent:
                        self.spent.add(key or "")
                        self.usage += usage
                case Plan():
                    self.plan = change
                case Result():
                    self.result = change
                case Progress():
                    self.progress.append((change.done, change.total, change.text))

    async def save(self, name: str, text: str) -> None:
        self.tell(Kept(name, text))

    async def load(self, name: str) -> str | None:
        return self.artifacts.get(name)

    async def history(self) -> list[Event]:
        now = datetime.now(UTC)
        return [
            Event(seq=n, at=now, actor=e["actor"], type=e["type"], text=e["text"]) for n, e in enumerate(self.events, 1)
        ]

    def texts(self, type: str) -> list[str]:
        return [e["text"] for e in self.events if e["type"] == type]

    def types(self) -> list[str]:
        return [e["type"] for e in self.events]


def task(**changes: Any) -> TeamTask:
    return TeamTask(**{"goal": "Tell how the light was kept", "materials": (MATERIAL,), **changes})


async def do(
    agents: ScriptedAgents, tmp: Path, given: TeamTask | None = None, run: MemoryRun | None = None
) -> tuple[Result, MemoryRun]:
    """The whole task, under a deadline."""
    run = run or MemoryRun()
    with anyio.fail_after(60):
        outcome = await run_team_task(run, agents, given or task())
    assert outcome.result is not None
    return outcome.result, run


def reasons(text: str) -> list[str]:
    return re.findall(r"^- (.*)$", text, re.MULTILINE)
