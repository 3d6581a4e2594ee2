"""`atlas-mcp traces`: MLflow's own page on what the agents did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

import typer

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


def traces(
    port: Annotated[int, typer.Option(help="The port of the page on this machine.")] = 5005,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open MLflow's page on the traces in the home folder, until Ctrl-C."""
    from rich.console import Console

    from atlas_mcp.atlas import open_traces_page
    from atlas_mcp.settings import load_settings

    console = Console(highlight=False, soft_wrap=True)

    def tell(page: Page) -> None:
        console.print(f"MLflow shows the traces at [cyan]{page.traces_url}[/]")
        if page.process is not None:
            console.print("Ctrl-C closes the page; the traces stay.", style="dim")

    settings = load_settings()
    Console(stderr=True, soft_wrap=True).print("MLflow is starting; the first time takes a while.", style="dim")
    open_traces_page(settings, port=port, browser=browser, on_open=tell)
