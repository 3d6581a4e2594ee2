"""`atlas-mcp backup` and `atlas-mcp restore`: the whole home in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atlas_mcp.errors import InvalidInput

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", dir_okay=False)]


def backup(
    file: _File, force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False
) -> None:
    """Write everything that is remembered, of every caller, to one file; servers may go on working."""
    from atlas_mcp.home_care import back_up
    from atlas_mcp.settings import load_settings

    if file.exists() and not force:
        raise InvalidInput(f"{file} is there already.", argument="FILE", next_step="Choose another name, or --force.")
    about = back_up(load_settings(), file)
    size = sum(part.bytes for part in about.parts)
    typer.echo(f"Wrote {file}: {', '.join(part.name for part in about.parts)} ({size:,} bytes), read again and whole.")
    but = " but those that you wrote into mcp_servers.json" if about.has_servers else ""
    typer.echo(f"No key is in it{but}. It has all else that is remembered: keep it as you keep the home.")


def restore(file: _File) -> None:
    """Put the home as a backup has it, whole or not at all. What is there is kept aside; no server may be running."""
    from atlas_mcp.home_care import restore
    from atlas_mcp.settings import load_settings

    settings = load_settings()
    about, aside = restore(settings, file)
    typer.echo(f"{settings.home} is as it was on {about.made_at:%Y-%m-%d %H:%M:%S} UTC.")
    if aside is not None:
        typer.echo(f"What was there is in {aside}: delete it when you need it no more.")
        typer.echo("What was forgotten since stays out of the record. Agents' own blocks and talks may say it again.")
    typer.echo("Keys and logins with other servers are not in a backup: set them, and log in, as before.")
