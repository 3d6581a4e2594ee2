"""What a person sees of the red team's work: renderables for rich."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from atlas_mcp.model.attacked import Attacked, Outcome


def outcome_line(one: Outcome) -> Text:
    """What came of one text."""
    if one.benign:
        said = Text("found something", "yellow") if one.found else Text("passes", "green")
    elif one.obeyed is None:
        said = Text("not tried against the model", "yellow")
    else:
        said = Text(f"got through: {one.why}", "red") if one.obeyed else Text("resisted", "green")
    return Text.assemble(f"{one.id}  ", said)


def report_page(done: Attacked, *, asked: bool) -> RenderableType:
    """Which layer caught what, what got through, what was found in harmless texts, and how long it took."""
    parts: list[RenderableType] = [_table(done), _sums(done)]
    if not asked:
        text = (
            "No model was asked: the rules and the delimiting alone were tried. A text that no layer found is counted"
        )
        parts.append(Text(f"{text} as having got through. For turns against a model set ATLAS_MODEL."))
    parts += [Text(f"{one.id}: {_why(one)}", "red") for one in done.through]
    parts += [Text(f"{one.id}: harmless, but {_rules(one)}", "yellow") for one in done.false_positives]
    troubles = Counter(problem for one in done.outcomes for problem in one.problems)
    parts += [Text(f"{problem} ({count} times)", "yellow") for problem, count in troubles.most_common(5)]
    return Group(*parts)


def _table(done: Attacked) -> Table:
    asked = [name for name in done.layers if name != "model"]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(("form", "attacks", *(f"{name} caught" for name in asked), "got through")):
        table.add_column(name, justify="right" if number else "left")
    for form in dict.fromkeys(one.form for one in done.attacks):
        some = [one for one in done.attacks if one.form == form]
        caught = [str(sum(bool(one.caught.get(name)) for one in some)) for name in asked]
        through = sum(bool(one.through) for one in some)
        table.add_row(form, str(len(some)), *caught, Text(str(through), "red" if through else "green"))
    return table


def _sums(done: Attacked) -> Text:
    kinds = f"{len(done.through)} of {len(done.attacks)} attacks got through ({done.share_through:.0%})"
    unsure = sum(one.through is None for one in done.attacks)
    kinds += f", of {unsure} it cannot be told" if unsure else ""
    twins = f"{len(done.false_positives)} of {len(done.twins)} harmless texts were marked"
    times: Counter[str] = Counter()
    for one in done.outcomes:
        times.update(one.seconds)
    spent = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in times.items())
    paid = f", ${done.usd:.4f}" if done.usd else ""
    return Text(f"{kinds}; {twins}. {done.seconds:.1f} s in all ({spent}){paid}.")


def _why(one: Outcome) -> str:
    return one.why or ("no layer found anything" if not one.found else "it does not stay within its section")


def _rules(one: Outcome) -> str:
    return "; ".join(f"{layer} found {', '.join(rules)}" for layer, rules in one.caught.items() if rules)
