"""`atlas-mcp audit`: who did what to what, when, how it ended, from where."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atlas_mcp.cli.durations import length, looks_like_one
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.audited import Audited, AuditQuery

WIDTH = 200
_COLUMNS = ("at (UTC)", "caller", "via", "action", "target", "outcome", "from")
_MOMENT = "As 2026-03-01, 2026-03-01T12:30 (UTC), or how long ago: 30m, 12h, 7d, 4w."


def audit(
    caller: Annotated[str | None, typer.Option(help="Only this caller's, such as key:ann.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this tool, method or command, such as forget.")] = None,
    outcome: Annotated[
        Literal["done", "refused", "failed", "cancelled"] | None, typer.Option(help="Only what ended so.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=f"Only from then on. {_MOMENT}")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Only before then.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most: the newest.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with everything.")] = False,
) -> None:
    """Show the audit log of this home, of all callers, the newest last. Nobody can change it."""
    import anyio

    from atlas_mcp.model.audited import AuditQuery

    query = AuditQuery(
        caller=caller,
        action=action,
        outcome=outcome,
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
        limit=limit,
    )
    if follow:
        anyio.run(_follow, query, as_json)
        return
    found = anyio.run(_list, query)
    if as_json:
        for entry in found:
            typer.echo(_line(entry))
    elif found:
        _print(found)
    else:
        typer.echo("There is nothing of that kind in the audit log.")


def _moment(text: str | None, argument: str) -> datetime | None:
    if text is None:
        return None
    if looks_like_one(text):
        return datetime.now(UTC) - length(text, argument)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a moment.", argument=argument, next_step=_MOMENT) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _line(entry: Audited) -> str:
    return entry.model_dump_json(exclude_none=True)


def _cells(entry: Audited) -> tuple[str, ...]:
    source = " ".join(part for part in (entry.client, entry.address) if part)
    ended = f"{entry.outcome} {entry.detail}".rstrip()
    return f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.caller, entry.via, entry.action, entry.target, ended, source


def _print(entries: Sequence[Audited]) -> None:
    from rich.console import Console

    from atlas_mcp.cli.report import Grid
    from atlas_mcp.cli.report_text import grid

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    console.print(grid(Grid(columns=_COLUMNS, rows=tuple(map(_cells, entries))), whole=1))


async def _list(query: AuditQuery) -> list[Audited]:  # anyio.run passes by position
    from atlas_mcp.home_care import open_audit
    from atlas_mcp.settings import load_settings

    async with open_audit(load_settings()) as trail:
        return await trail.list(query)


async def _follow(query: AuditQuery, as_json: bool) -> None:
    from atlas_mcp.cli.report import plain
    from atlas_mcp.home_care import open_audit
    from atlas_mcp.settings import load_settings

    async with open_audit(load_settings()) as trail:
        async for entry in trail.follow(query):
            typer.echo(_line(entry) if as_json else plain("  ".join(cell or "-" for cell in _cells(entry))))
            sys.stdout.flush()
