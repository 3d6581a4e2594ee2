"""What a person sees of each thing: renderables for rich, one function a thing. Nothing is left out to look better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from atlas_mcp.model.result import PASS_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from atlas_mcp.model.agent import AgentInfo
    from atlas_mcp.model.budget import Spending
    from atlas_mcp.model.memory import Block, MemoryChange
    from atlas_mcp.model.plan import Plan
    from atlas_mcp.model.result import Cited, Missing, Rating, Result
    from atlas_mcp.model.status import Status

HEALTH = {"ok": ("●", "green"), "warning": ("●", "yellow"), "failing": ("●", "red"), "idle": ("○", "dim")}
_QUOTES_SHOWN = 8


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def status_page(status: Status) -> RenderableType:
    """What works and what does not, room by room."""
    head = Text.assemble(("ATLAS ", "bold"), status.version, "   home ", (status.home, "cyan"))
    model = Text.assemble("model ", (status.model, "yellow" if status.offline else "green"))
    table = _table("", "room", "how it is")
    for room in status.rooms:
        sign, style = HEALTH[room.health]
        text = Text(room.text)
        if room.next_step:
            text.append(f"\n{room.next_step}", "dim")
        table.add_row(Text(sign, style), room.name, text)
    spent = [Text(_spent(status.spending))] if status.spending else []
    notes = [Text(f"! {note}", "yellow") for note in status.notes]
    alerts = [Text(f"!! since {one.raised_at:%H:%M} UTC: {one.text}", "bold red") for one in status.alerts]
    return Group(head, model, table, *spent, *alerts, *notes)


def _spent(today: Spending) -> str:
    limited = f" of ${today.limit_usd:,.2f}, ${today.left_usd:,.2f} left" if today.limit_usd is not None else ""
    return f"today (UTC) ${today.usd:,.4f}{limited}; {today.tokens:,} tokens"


def agents_page(agents: Sequence[AgentInfo]) -> RenderableType:
    """The constellation, team by team."""
    table = _table("team", "agent", "what it is for")
    team: str | None = ""
    for agent in agents:
        new = agent.team != team
        team = agent.team
        name = Text(agent.name, "bold" if agent.role != "worker" else "")
        what = Text(agent.description)
        if agent.needs:
            what.append(f"  (lacks {', '.join(agent.needs)}: gets no part)", "yellow")
        table.add_row(Text(team or "all", "cyan") if new else "", name, what)
    return table


def changes_page(changes: Iterable[MemoryChange]) -> RenderableType:
    """What changed in an agent's memory, and to what."""
    table = _table("agent", "block", "by", "now reads")
    for change in changes:
        table.add_row(change.agent, change.label, change.author, Text(_short(change.after, 300)))
    return table


def plan_page(plan: Plan) -> RenderableType:
    """Who was given what, and what was lacking."""
    table = _table("part", "team", "task", "after", title=plan.summary or None)
    for part in plan.parts:
        table.add_row(part.id, Text(part.team, "cyan"), Text(_short(part.task, 200)), ", ".join(part.depends_on))
    lacks = [Text(f"! {lack.what}: {lack.why}. {lack.how_to_add}".rstrip(), "yellow") for lack in plan.lacks]
    return Group(table, *lacks)


def result_page(result: Result) -> RenderableType:
    """The text, what supports it, how it was rated, and what it lacks."""
    verdict = "passed" if result.passed else "did not pass"
    title = f"Result: round {result.best_round} of {result.rounds}, {verdict}"
    parts: list[RenderableType] = [
        Panel(Markdown(result.output), title=title, border_style="green" if result.passed else "yellow")
    ]
    if result.evidence:
        parts.append(_evidence(result.evidence))
    parts += [_ratings(result.ratings, number) for number in sorted({r.round for r in result.ratings})]
    parts += [Text(f"saved: {one.name} ({one.chars:,} characters) {one.path}") for one in result.files]
    parts += [Text(f"! {result.stopped}", "yellow")] if result.stopped else []
    parts += [Text(f"! unmet: {criterion}", "yellow") for criterion in result.unmet]
    parts += [Text(f"! missing from {agents}: {why}", "yellow") for why, agents in _by_reason(result.missing).items()]
    parts += [Text(f"! raters disagree: {text}", "yellow") for text in result.disagreements]
    return Group(*parts)


def _evidence(evidence: Sequence[Cited]) -> RenderableType:
    table = _table("what is claimed, and the source's words for it", "source", title=f"Evidence ({len(evidence)})")
    for one in evidence[:_QUOTES_SHOWN]:
        words = Text(f"“{_short(one.quote or one.claim, 200)}”", "italic")
        if one.quote and one.claim != one.quote:
            words = Text(f"{_short(one.claim, 160)}\n").append(words)
        table.add_row(words, Text(_source(one), "cyan"))
    if len(evidence) > _QUOTES_SHOWN:
        table.add_row(Text(f"and {len(evidence) - _QUOTES_SHOWN} more", "dim"), "")
    return table


def _source(one: Cited) -> str:
    """The source, and of a page or a file when an agent was given it."""
    if one.verified is None or one.verified.fetched_at is None:
        return one.source
    title = f"{_short(one.verified.title, 80)}, " if one.verified.title else ""
    return f"{title}{one.source}, read {one.verified.fetched_at:%Y-%m-%d %H:%M} UTC"


def _ratings(ratings: Sequence[Rating], number: int) -> RenderableType:
    """One round: each criterion with every rater's score, and the reason of the one who liked it least."""
    mine = [rating for rating in ratings if rating.round == number]
    raters = list(dict.fromkeys(rating.rater for rating in mine))
    title = f"Ratings, round {number} ({PASS_MARK} of 5 passes)"
    table = _table("criterion", *(rater.replace("_", " ") for rater in raters), "why not more", title=title)
    for criterion in dict.fromkeys(rating.criterion for rating in mine):
        given = {rating.rater: rating for rating in mine if rating.criterion == criterion}
        scores = [_score(given.get(rater)) for rater in raters]
        least = min(given.values(), key=lambda rating: rating.score)
        table.add_row(criterion, *scores, Text(_short(least.reason, 160)))
    return table


def _score(rating: Rating | None) -> Text:
    if rating is None:
        return Text("none", "red")
    return Text(f"{rating.score:.1f}", "green" if rating.score >= PASS_MARK else "red")


def _by_reason(missing: Iterable[Missing]) -> dict[str, str]:
    agents: dict[str, list[str]] = {}
    for one in missing:
        agents.setdefault(one.why, []).append(f"{one.agent} ({one.what})")
    return {why: ", ".join(names) for why, names in agents.items()}


def memory_page(agent: str, blocks: Sequence[Block]) -> RenderableType:
    """What an agent has in mind, block by block; its written character is left to `get_agent_memory`."""
    table = _table("block", "used", "revision", "by", "text", title=f"What {agent} remembers")
    empty: list[str] = []
    for block in blocks:
        if block.label == "persona":
            continue
        if not block.value:
            empty.append(block.label)
            continue
        label = Text(block.label, "bold")
        if block.shared_with:
            label.append(f"\nshared with {len(block.shared_with)}", "dim")
        used = f"{block.chars:,}/{block.limit:,}"
        table.add_row(label, used, str(block.revision), block.author, Text(_short(block.value, 400)))
    if empty:
        table.add_row(Text(", ".join(empty), "dim"), "", "", "", Text("empty so far", "dim"))
    return table


def _short(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
