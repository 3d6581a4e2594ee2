"""What a person sees of the Lettas and of what the doctor found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from atlas_mcp.cli.pages import HEALTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from atlas_mcp.model.server import ServerInfo
    from atlas_mcp.model.status import Room

_MODELS_SHOWN = 12


def checks_page(checks: Sequence[Room]) -> RenderableType:
    """Each thing that was looked at, and what to do where it is not well."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "what", "how it is"):
        table.add_column(column, overflow="fold")
    for check in checks:
        sign, style = HEALTH[check.health]
        text = Text(check.text)
        if check.next_step:
            text.append(f"\n→ {check.next_step}", "bold")
        table.add_row(Text(sign, style), check.name, text)
    return table


def server_page(server: ServerInfo) -> RenderableType:
    """One Letta: what it can do, which models it has, or what is wrong with it."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    if server.version:
        lines.add_row("version", server.version)
    for ability in server.abilities:
        what, _, how = ability.partition(": ")
        lines.add_row(what, how)
    if server.model:
        lines.add_row("answers", Text(server.model, "green"))
    if server.models:
        lines.add_row("models", _shortened(server.models))
    if server.embeddings:
        lines.add_row("embeddings", _shortened(server.embeddings))
    lines.add_row("constellations", str(server.constellations))
    if server.problem:
        lines.add_row("problem", Text(server.problem, "red"))
        lines.add_row("→", Text(server.next_step or "", "bold"))
    style = "red" if server.problem else "green"
    title = f"Letta {server.name}" + ("" if server.name in server.address else f" · {server.address}")
    return Panel(lines, title=title, title_align="left", border_style=style)


def servers_page(servers: Sequence[ServerInfo]) -> RenderableType:
    """The Lettas, one a line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "name", "address", "version", "constellations", "how it is"):
        table.add_column(column, overflow="fold")
    for server in servers:
        sign, style = HEALTH["failing" if server.problem else "ok"]
        how = Text(server.problem or f"answers with {server.model}")
        if server.problem and server.next_step:
            how.append(f"\n→ {server.next_step}", "bold")
        count = str(server.constellations)
        table.add_row(Text(sign, style), server.name, server.address, server.version, count, how)
    return table


def _shortened(handles: Sequence[str]) -> str:
    shown = ", ".join(handles[:_MODELS_SHOWN])
    return shown if len(handles) <= _MODELS_SHOWN else f"{shown} and {len(handles) - _MODELS_SHOWN} more"
