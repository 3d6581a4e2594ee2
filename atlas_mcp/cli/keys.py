"""`atlas-mcp keys`: the keys by which people and programs come in over HTTP."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, TypeVar, cast, get_args

import typer

from atlas_mcp.cli.durations import length
from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.access import Limits, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from rich.console import Console

    from atlas_mcp.home_care import Keys
    from atlas_mcp.model.access import AccessKey

T = TypeVar("T")
WIDTH = 160
USUAL = "read,chat,write"
keys = typer.Typer(
    name="keys",
    help="The keys by which people and programs come in over HTTP. Servers at work take up changes in seconds.",
    no_args_is_help=True,
    add_completion=False,
)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: a person, or a program.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPES", help=f"read, chat, write, admin; several with commas. Else {USUAL}."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="After how long it opens nothing: 90d, 12h, 4w. Else never.")
    ] = None,
    speaks_for: Annotated[
        str | None, typer.Option("--for", metavar="NAME", help="Speak to the constellation of the key of that name.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT=NUMBER", help=f"A limit of its own: {', '.join(Limits.model_fields)}."),
    ] = None,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept. Its holder has a constellation of their own."""
    scopes, limits = _scopes(scope), _limits(limit)
    expires_in = length(expires, "--expires") if expires is not None else None
    made = _with(
        lambda opened: opened.create(name, scopes=scopes, expires_in=expires_in, speaks_for=speaks_for, limits=limits),
        audited=("keys create", f"name={name} scopes={','.join(sorted(scopes))}"),
    )
    told = _console(stderr=True)
    told.print(f"A key for {made.key.caller} ({', '.join(sorted(made.key.scopes))}), {_until(made.key)}.", markup=False)
    told.print("It is shown this once. Clients send it as: Authorization: Bearer KEY", markup=False)
    typer.echo(made.token)


@keys.command("list")
def list_keys() -> None:
    """List the keys there have been: whose they are, what they open, and when they were last used."""
    from atlas_mcp.cli.report import Grid
    from atlas_mcp.cli.report_text import grid

    found = _with(lambda opened: opened.list())
    if not found:
        _console().print("There is none besides the home's own.")
        return
    columns = ("name", "id", "state", "speaks as", "scopes", "limits", "expires", "last used")
    rows = tuple(_row(key) for key in found)
    _console().print(grid(Grid(columns=columns, rows=rows), whole=3))


@keys.command()
def revoke(key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, or its id as list shows it.")]) -> None:
    """Let a key open nothing any more. Its constellation stays, for the next key of that name."""
    revoked = _with(lambda opened: opened.revoke(key), audited=("keys revoke", f"key={key}"))
    _console().print(f"{revoked.name} ({revoked.id}) opens nothing any more.", markup=False)


def _with(work: Callable[[Keys], Awaitable[T]], *, audited: tuple[str, str] | None = None) -> T:
    import anyio

    async def opened() -> T:
        from atlas_mcp.home_care import open_audit, open_keys
        from atlas_mcp.settings import load_settings

        settings = load_settings()
        async with open_keys(settings) as door:
            if audited is None:
                return await work(door)
            async with open_audit(settings) as trail, trail.command(*audited):
                return await work(door)

    return anyio.run(opened)


def _scopes(given: list[str] | None) -> frozenset[Scope]:
    named = [name.strip() for text in given or [USUAL] for name in text.split(",")]
    known = get_args(Scope)
    for name in named:
        if name not in known:
            raise InvalidInput(
                f"there is no scope {name!r}.",
                argument="--scope",
                allowed=known,
                next_step=f"There are: {', '.join(known)}.",
            )
    return frozenset(cast("list[Scope]", named))


def _limits(given: list[str] | None) -> Limits:
    found: dict[str, int] = {}
    for text in given or ():
        what, _, number = text.partition("=")
        if what not in Limits.model_fields or not re.fullmatch(r"[1-9][0-9]{0,8}", number):
            raise InvalidInput(
                f"{text!r} is not a limit.",
                argument="--limit",
                allowed=tuple(Limits.model_fields),
                next_step=f"Give one of {', '.join(Limits.model_fields)} with a number: {what or 'runs'}=4.",
            )
        found[what] = int(number)
    return Limits.model_validate(found)


def _row(key: AccessKey) -> tuple[str, ...]:
    limits = key.limits.model_dump(exclude_none=True)
    return (
        key.name,
        key.id,
        key.state(),
        key.caller.removeprefix("key:"),
        " ".join(sorted(key.scopes)),
        " ".join(f"{name}={value}" for name, value in limits.items()),
        _day(key.expires_at, "never"),
        _day(key.used_at, "never"),
    )


def _until(key: AccessKey) -> str:
    return f"until {_day(key.expires_at, '')}" if key.expires_at else "until it is revoked"


def _day(moment: datetime | None, none: str) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else none


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    shown = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if shown.isatty() else WIDTH)
