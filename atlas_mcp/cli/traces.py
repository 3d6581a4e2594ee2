"""`atlas-mcp traces`: MLflow's own page on what the agents did."""

from __future__ import annotations

from typing import Annotated

import typer


def traces(
    port: Annotated[int, typer.Option(help="The port of the page on this machine.")] = 5005,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open MLflow's page on the traces in the home folder, until Ctrl-C."""
    from atlas_mcp.atlas import open_traces_page
    from atlas_mcp.settings import load_settings

    open_traces_page(load_settings(), port=port, browser=browser)
