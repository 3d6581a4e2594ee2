"""Plans and delegations by rules: who is there, what the goal asks, what waits for what.

Teams that find things out come first, those that work out what follows wait for them. Writing and rating teams get no
part: they come after all parts. A goal of several questions gives each finder its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from atlas_mcp.model.plan import Lack, Part, Plan
from atlas_mcp.model.work import Assignment, Delegation
from atlas_mcp.models.offline import goal as goals
from atlas_mcp.models.offline.angle import Angle, angle_of
from atlas_mcp.models.offline.debate import sides
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, terms

MOST_FINDING_PARTS = 3
_TEAM = re.compile(r"^(?P<name>\S+) \((?P<kind>\w+)\): (?P<rest>.*)$")
_FOLLOWS = re.compile(
    r"\b(?:analy\w*|what follows|compar\w*|evaluat\w*|strateg\w*|interpret\w*|assess\w*|price\w*|recommend\w*|judg\w*|"
    r"conclu\w*|synthesi\w*)\b",
    re.IGNORECASE,
)
_FINDS = re.compile(
    r"\b(?:find\w*|search\w*|research\w*|gather\w*|collect\w*|sources?|investigat\w*|look\w*)\b", re.IGNORECASE
)
_WRITES = re.compile(r"\b(?:writ\w+|written|draft\w*|revis\w+)\b", re.IGNORECASE)
_ORDERS = re.compile(r"\b(?:order|structure|organis|organiz)", re.IGNORECASE)
RESTRICTIONS = (
    "Use only the materials and reports of this run.",
    "Quote word for word, and name the material of every quote.",
    "Say what you could not find.",
)


@dataclass(frozen=True)
class Team:
    """A team as the plan's prompt shows it."""

    name: str
    kind: str
    purpose: str
    why_not: str = ""
    workers: tuple[str, ...] = ()

    @property
    def follows(self) -> bool:
        """Whether it works on what others found."""
        text = f"{self.name} {self.purpose}"
        return len(_FOLLOWS.findall(text)) > len(_FINDS.findall(text))


def plan(prompt: Prompt) -> Plan:
    """The plan for the goal, with the teams that can work."""
    goal = prompt.one("goal")
    teams = [team for line in prompt.lines("teams") if (team := _team(line))]
    working = [t for t in teams if t.kind == "work" and not t.why_not]
    if prompt.one("mode") == "debate":
        return _debate(goal, working)
    size = goals.complexity(goal, _characters(prompt), len(prompt.materials()))
    finders = [t for t in working if not t.follows]
    followers = [t for t in working if t.follows]
    if prompt.one("mode") == "team":
        finders, followers = [max(working, key=lambda t: _fit(t.purpose, goal))], []
    elif size == "simple" and finders:
        finders, followers = [max(finders, key=lambda t: _fit(t.purpose, goal))], []
    asked = goals.aspects(goal)
    if prompt.one("mode") == "team":
        asked = ["; ".join(asked)]
    first = _finding(finders or followers, asked)
    last = _following(followers if finders else [], asked, [p.id for p in first])
    return Plan(
        summary=_summary(first, last, asked),
        priority=goals.priority(goal),
        kind=goals.kind(goal),
        complexity=size,
        parts=(*first, *last),
        lacks=(*_lacks(prompt), *(Lack(what=f"team {t.name}", why=t.why_not) for t in teams if t.why_not)),
    )


def _debate(goal: str, teams: list[Team]) -> Plan:
    workers = [worker for team in teams for worker in team.workers]
    return Plan(summary=f"A debate on: {goal[:200]}", mode="debate", debaters=sides(workers), rounds=2)


def delegation(prompt: Prompt) -> Delegation:
    """Each worker its own question: an aspect of the task, looked at from the worker's angle."""
    task = prompt.one("task")
    workers = {name.strip(): about.strip() for name, _, about in (w.partition(":") for w in prompt.lines("workers"))}
    if _WRITES.search(task) and any(_WRITES.search(about) for about in workers.values()):
        return _writing(prompt, workers)
    asked = _aspects_of(task, prompt.one("goal"))
    reports = [name for name, _ in prompt.reports()]
    context = f"The goal: {' '.join(prompt.one('goal').split())[:400]}"
    if reports:
        context += f" Reports at hand: {', '.join(reports)}."
    assignments: list[Assignment] = []
    for n, (name, about) in enumerate(workers.items()):
        angle = angle_of(f"{name.replace('_', ' ')}: {about}")
        if n >= len(asked) and not angle.own:
            continue  # nobody reads the same pages for the same question
        work = _question(angle, asked, n, len(workers))
        assignments.append(Assignment(worker=name, task=work, context=context, restrictions=RESTRICTIONS))
    return Delegation(assignments=tuple(assignments))


def _team(line: str) -> Team | None:
    match = _TEAM.match(line)
    if not match:
        return None
    purpose, _, why_not = match["rest"].partition("not available:")
    purpose, _, workers = purpose.partition("; workers:")
    names = tuple(w.strip() for w in workers.split(",") if w.strip())
    return Team(match["name"], match["kind"], purpose.strip(), why_not.strip(), names)


def _finding(teams: list[Team], asked: list[str]) -> list[Part]:
    """A part for each finding team; a single team gets one for each question, so that they run side by side."""
    shares = [[a] for a in asked[: MOST_FINDING_PARTS - 1]] if len(teams) == 1 and len(asked) > 2 else [asked]
    if len(shares) > 1:
        shares[-1] = asked[len(shares) - 1 :]
    return [
        Part(
            id=team.name if len(shares) == 1 else f"{team.name}-{n}",
            team=team.name,
            task=f"Find and quote what the materials say on: {'; '.join(share)}. A good answer quotes the passages "
            "that answer each question, names their source, and says what is not there.",
        )
        for team in teams
        for n, share in enumerate(shares, 1)
    ]


def _following(teams: list[Team], asked: list[str], before: list[str]) -> list[Part]:
    return [
        Part(
            id=team.name,
            team=team.name,
            task=f"Work out from the reports and the materials what follows for: {'; '.join(asked)}. A good answer "
            "gives the reasons and consequences that the sources state, with quotes, and names what stays open.",
            depends_on=tuple(before),
        )
        for team in teams
    ]


def _summary(first: list[Part], last: list[Part], asked: list[str]) -> str:
    names = ", ".join(dict.fromkeys(p.team for p in first))
    text = f"{len(asked)} question{'s' if len(asked) > 1 else ''}: {names} look{'s' if len(first) == 1 else ''} first"
    if last:
        text += f"; {', '.join(p.team for p in last)} work{'s' if len(last) == 1 else ''} from what was found"
    return text + "."


def _lacks(prompt: Prompt) -> list[Lack]:
    found: list[Lack] = []
    for line in prompt.lines("lacks"):
        what, _, rest = line.partition(": ")
        why, _, how = rest.partition(": ")
        found.append(Lack(what=what, why=why or "it is not there", how_to_add=how))
    return found


def _characters(prompt: Prompt) -> int:
    return sum(int(n) for n in re.findall(r"\((\d+) characters\)$", prompt.one("materials"), re.MULTILINE))


def _fit(purpose: str, goal: str) -> int:
    return len(set(terms(purpose)) & set(terms(goal)))


def _aspects_of(task: str, goal: str) -> list[str]:
    """The questions of a task: those after its colon, else those of the goal."""
    _, colon, rest = task.partition(": ")
    questions = [q.strip() for q in rest.split(". A good answer")[0].split(";") if q.strip()] if colon else []
    return questions or goals.aspects(task if asked_terms(task) else goal)


def _question(angle: Angle, asked: list[str], number: int, workers: int) -> str:
    """One worker's task: with fewer workers than questions each gets several."""
    mine = asked[number::workers] if number < len(asked) else [asked[number % len(asked)]]
    return f"{angle.does}: {'; '.join(mine)}."


def _writing(prompt: Prompt, workers: dict[str, str]) -> Delegation:
    """The writer who writes; and one who sees to the order, when a new text answers several questions."""
    writer = next((n for n, about in workers.items() if re.search(r"\bwrites?\b", about, re.IGNORECASE)), None)
    writer = writer or next(iter(workers))
    revising = bool(prompt.one("feedback"))
    task = (
        "Revise the sections that the feedback names, so that its reasons no longer hold."
        if revising
        else "Write the text from the reports: a section for each question of the goal, each sentence with its source."
    )
    given = [Assignment(worker=writer, task=task, restrictions=("Say only what the reports support.",))]
    editor = next((n for n, about in workers.items() if n != writer and _ORDERS.search(f"{n} {about}")), None)
    if editor and not revising and len(goals.aspects(prompt.one("goal"))) > 1:
        edit = "Edit the text: say nothing twice, keep paragraphs short, and keep the order of the questions."
        given.append(Assignment(worker=editor, task=edit))
    return Delegation(assignments=tuple(given))
