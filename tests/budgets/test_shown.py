"""What is spent, on the command line's pages."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from atlas_mcp.cli.pages import result_page, status_page
from atlas_mcp.model.budget import Spending
from atlas_mcp.model.result import Result
from atlas_mcp.model.status import Status

STATUS = Status(
    ok=True, version="1", home="h", caller="c", model="m", offline=False, roster="r", agents=1, open_runs=0, rooms=[]
)


def shown(page: object) -> str:
    console = Console(width=200, file=StringIO(), record=True)
    console.print(page)
    return console.export_text()


def test_the_status_page_tells_today_and_what_is_left() -> None:
    spending = Spending(usd=1.25, tokens=12_000, limit_usd=5, left_usd=3.75)
    told = shown(status_page(STATUS.model_copy(update={"spending": spending})))
    assert "today (UTC) $1.2500 of $5.00, $3.75 left; 12,000 tokens" in told
    assert "today" not in shown(status_page(STATUS))


def test_a_result_that_a_budget_ended_says_so() -> None:
    assert "! The budget is over." in shown(result_page(Result(output="text", stopped="The budget is over.")))
