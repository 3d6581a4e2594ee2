"""`atlas-mcp traces`: MLflow's own page on what the agents did; and making room in its database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import typer

from atlas_mcp.cli.durations import length
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from subprocess import Popen


class Page(Protocol):
    """MLflow's page, as it is handed over once it can be opened."""

    @property
    def process(self) -> Popen[bytes] | None:
        """The server behind it, if this command started it."""
        ...

    @property
    def traces_url(self) -> str:
        """Its address."""
        ...

    @property
    def views(self) -> Mapping[str, str]:
        """Addresses of what one looks for, by what it is."""
        ...


_BYTES: Final = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

traces = typer.Typer(name="traces", help="What the agents did, on MLflow's own page.", add_completion=False)


@traces.callback(invoke_without_command=True)
def open_page(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="The port of the page on this machine.")] = 5005,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open MLflow's page on the traces in the home folder, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from atlas_mcp.atlas import open_traces_page
    from atlas_mcp.settings import load_settings

    console = Console(highlight=False, soft_wrap=True)

    def tell(page: Page) -> None:
        console.print(f"MLflow shows the traces at [cyan]{page.traces_url}[/]")
        for name, address in page.views.items():
            console.print(f"  {name}: [dim]{address}[/]")
        if page.process is not None:
            console.print("Ctrl-C closes the page; the traces stay.", style="dim")

    settings = load_settings()
    Console(stderr=True, soft_wrap=True).print("MLflow is starting; the first time takes a while.", style="dim")
    open_traces_page(settings, port=port, browser=browser, on_open=tell)


@traces.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete what began longer ago, such as 12h, 30d or 8w.")
    ] = None,
    larger_than: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Delete the oldest traces while more is in use, such as 2GB.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete old traces and runs from the home's own MLflow database, and give the room back to the disk.

    With neither option the age is that of ATLAS_TRACES_DAYS.
    """
    from atlas_mcp.atlas import prune_traces
    from atlas_mcp.settings import load_settings

    seconds = None if older_than is None else length(older_than, "--older-than", or_none_at_all=True).total_seconds()
    most = None if larger_than is None else _bytes(larger_than)
    typer.echo(prune_traces(load_settings(), seconds, most, yes or _agreed))


def _agreed(question: str) -> bool:
    return typer.confirm(question)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text.strip())
    if not found or found[2].upper() not in _BYTES:
        step = "Write a number and MB or GB, such as 2GB."
        raise InvalidInput(f"{text!r} is not an amount.", argument="--larger-than", next_step=step)
    return int(float(found[1]) * _BYTES[found[2].upper()])
