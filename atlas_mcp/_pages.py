"""What `atlas-mcp` serves by itself, apart from MCP: the embedded Letta, and MLflow's page on the traces."""

from __future__ import annotations

import logging
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING

from atlas_mcp._config import destination, model_config
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.tool_folders import ToolFolders
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.models.catalog import parse_name
from atlas_mcp.models.chat import Models
from atlas_mcp.store.files import prepare
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from atlas_mcp.settings import Settings
    from atlas_mcp.watch.page import Page

LETTA_KEY = "letta"
log = logging.getLogger(__name__)


def letta_app(settings: Settings, *, allow_tools: bool, port: int) -> FastAPI:
    """The embedded Letta on the home's own database, for a loopback server on `port`.

    It asks for the bearer key in `<home>/keys/letta` (made now if need be) and a Host and Origin of this machine.
    Without `allow_tools` uploading tool source is refused; with it, such source runs in the sandbox as untrusted, and
    not at all where the kernel cannot close it in.
    """
    from atlas_mcp.embedded import create_app

    home = open_home(settings.home)
    prepare(home.letta)
    models = Models(model_config(settings, load_roster(settings.roster, read_model=parse_name)))
    models.check()
    locks = Locks(home.locks)
    toolbox = Toolbox(settings.tools, ToolFolders(home.temporary, locks))
    hosts = [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    return create_app(
        home.letta,
        models,
        lock=locks.hold,
        run_tool=toolbox.run if allow_tools else None,
        key=home.key(LETTA_KEY),
        hosts=hosts,
    )


def open_traces_page(
    settings: Settings, *, port: int, browser: bool = True, on_open: Callable[[Page], None] | None = None
) -> None:
    """Serve MLflow's page on the home's traces until it is interrupted; with a configured server, only open that."""
    from atlas_mcp.watch.page import serve_page

    home = open_home(settings.home)
    with suppress(KeyboardInterrupt), serve_page(home.path, destination=destination(settings), port=port) as page:
        if on_open is not None:
            on_open(page)
        if browser:
            webbrowser.open(page.traces_url)
        page.wait()
