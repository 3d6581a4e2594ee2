"""What `atlas-mcp` serves by itself, apart from MCP: the embedded Letta, and MLflow's page and database of traces."""

from __future__ import annotations

import logging
import time
import webbrowser
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from atlas_mcp._config import destination, model_config
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.tool_folders import ToolFolders
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import InvalidInput
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
    from atlas_mcp.watch.pruning import Amount

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


def prune_traces(
    settings: Settings,
    older_than: float | None,
    larger_than: int | None,
    agreed: Callable[[str], bool] | Literal[True],
) -> str:
    """Delete traces older than so many seconds, then the oldest beyond so many bytes, if it is agreed; what was done.

    With neither, the age of the settings counts. Raises InvalidInput for an MLflow elsewhere, and Unavailable.
    """
    from atlas_mcp.watch.pruning import amount, prune

    where, home = destination(settings), open_home(settings.home).path
    if where.kind != "home":
        raise InvalidInput(
            f"the traces are kept at {where.shown}.", next_step="Delete them there, with MLflow's own page or client."
        )
    if older_than is None and larger_than is None:
        if not settings.traces_days:
            raise InvalidInput("traces are kept for ever here.", next_step="Give --older-than or --larger-than.")
        older_than = settings.traces_days * 86_400
    before = None if older_than is None else time.time() - older_than
    if agreed is not True and not agreed(_question(amount(home), amount(home, before), before, larger_than)):
        return "Nothing was deleted."
    done = prune(home, before=before, most_bytes=larger_than)
    log.info("pruned: %s", done)
    said = f"Deleted {done.traces:,} traces, {done.runs:,} runs and {done.values:,} values of metrics; "
    return f"{said}{done.freed_bytes / 1e6:,.1f} MB freed." + (f" But {done.problem}." if done.problem else "")


def _question(there: Amount, old: Amount, before: float | None, most_bytes: int | None) -> str:
    parts: list[str] = []
    if before is not None:
        day = datetime.fromtimestamp(before, UTC)
        parts.append(f"{old.traces:,} of {there.traces:,} traces, and the runs, from before {day:%Y-%m-%d %H:%M} UTC")
    if most_bytes is not None:
        parts.append(
            f"the oldest traces until {most_bytes / 1e6:,.0f} MB are in use ({there.used_bytes / 1e6:,.0f} now)"
        )
    return f"Delete {'; and then '.join(parts)}?"
