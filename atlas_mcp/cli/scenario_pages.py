"""What a person, or a program, sees of scenarios: renderables for rich, and JUnit's XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from atlas_mcp.model.scenario import Played, Scenario
    from atlas_mcp.scenarios.suite import Summary


def scenarios_page(scenarios: Sequence[Scenario]) -> RenderableType:
    """Which there are, and what they are about."""
    table = _table("scenario", "what it is about")
    for one in scenarios:
        table.add_row(Text(one.name), Text(one.about))
    return table


def played_line(one: Played, done: int, total: int) -> Text:
    """That one was played."""
    said = Text("holds", "green") if one.passed else Text("fails", "red")
    return Text.assemble(f"{done}/{total}  {one.scenario} ", said, f", {one.seconds:.1f} s")


def report_page(played: Sequence[Played], summaries: Sequence[Summary]) -> RenderableType:
    """Each scenario's figures, and all that does not hold."""
    table = _table("scenario", "holds", "turns", "tokens", "dollars", "of its limits", "seconds")
    for one in summaries:
        rate = Text(f"{one.success_rate:.0%} of {one.played}", "green" if one.success_rate == 1 else "red")
        cost = "" if one.cost_usd is None else f"{one.cost_usd:.4f}"
        share = "" if one.used is None else f"{one.used:.0%}"
        figures = (f"{one.turns:g}", f"{one.tokens:,.0f}", cost, share, f"{one.seconds:.1f}")
        table.add_row(Text(one.scenario), rate, *map(Text, figures))
    failed = [one for one in played if not one.passed]
    total = f"{len(played) - len(failed)} of {len(played)} hold, in {sum(one.seconds for one in played):.1f} s."
    told = [Text(f"{_title(one)}: {line}", "red") for one in failed for line in one.failures]
    return Group(table, *told, Text(total, "red" if failed else "green"))


def junit_xml(played: Sequence[Played]) -> str:
    """What came of them as JUnit's XML, which programs that run tests can read."""
    failed = sum(not one.passed for one in played)
    seconds = f"{sum(one.seconds for one in played):.3f}"
    suite = ET.Element("testsuite", name="atlas-mcp test", tests=str(len(played)), failures=str(failed), time=seconds)
    for one in played:
        case = ET.SubElement(suite, "testcase", classname="scenarios", name=_title(one), time=f"{one.seconds:.3f}")
        if one.failures:
            ET.SubElement(case, "failure", message=_plain(one.failures[0])).text = _plain("\n".join(one.failures))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _title(one: Played) -> str:
    return one.scenario if one.number == 1 else f"{one.scenario} (time {one.number})"


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=not number)
    return table
