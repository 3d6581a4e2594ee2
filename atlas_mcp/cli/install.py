"""`atlas-mcp install` and `uninstall`: ATLAS in a host's list of servers, and out of it again.

The change is shown before it is made, and made only when somebody says yes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.cli.install_hosts import HOSTS, VARIABLES, Host, HostName, Machine, file_of, holds_secret, is_secret
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.cli.install_files import Change

_Host = Annotated[HostName, typer.Argument(metavar="HOST", help="The program that is to start ATLAS.")]
_Project = Annotated[bool, typer.Option("--project", help="For the project in this folder, not for you everywhere.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Change the file without asking.")]
_CONTEXT = 2
_HIDDEN = re.compile(r'("[^"]*(?:KEY|TOKEN|SECRET|PASSWORD|Authorization)"\s*:\s*")(?!\$\{)[^"]+(")', re.IGNORECASE)


def install(
    host: _Host,
    project: _Project = False,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A variable of this shell to give the server there; may be repeated."),
    ] = None,
    yes: _Yes = False,
) -> None:
    """Put ATLAS into a host's list of servers; the change is shown first, and can be undone."""
    from atlas_mcp.cli.install_files import installing
    from atlas_mcp.settings import foreign

    chosen, variables = HOSTS[host], _given(HOSTS[host], env or [])
    home = foreign("ATLAS_HOME").get("ATLAS_HOME")
    variables |= {"ATLAS_HOME": str(Path(home).expanduser().absolute())} if home else {}
    path = file_of(chosen, _machine(), Path.cwd() if project else None)
    if not _change(lambda: installing(chosen, path, sys.executable, variables), yes=yes):
        typer.echo(f"Nothing to do: {path} has ATLAS as it should.")
        return
    if held := holds_secret(chosen, variables):
        typer.echo(f"{', '.join(held)} now stands in that file: keep it from others.")
    typer.echo(chosen.then)
    command = f"atlas-mcp uninstall {host}{' --project' if project else ''}"
    typer.echo(f"`{command}` takes it back; `atlas-mcp doctor` tries whether it starts.")
    _mention_keys(chosen, variables)


def uninstall(host: _Host, project: _Project = False, yes: _Yes = False) -> None:
    """Undo install: give the host's file back as it was, or take ATLAS out of what it has become."""
    from atlas_mcp.cli.install_files import uninstalling
    from atlas_mcp.settings import load_settings

    path, home = file_of(HOSTS[host], _machine(), Path.cwd() if project else None), load_settings().home
    if not _change(lambda: uninstalling(HOSTS[host], path, home), yes=yes):
        typer.echo(f"Nothing to do: ATLAS is not in {path}.")


def _change(planned: Callable[[], Change], *, yes: bool) -> bool:
    """Show the change, ask, and make it; whether there was anything to change. Exit code 1 when the answer is no."""
    from atlas_mcp.cli.install_files import write
    from atlas_mcp.settings import load_settings

    home, change = load_settings().home, planned()
    if change.empty:
        return False
    _show(change)
    while not yes:
        if not sys.stdin.isatty():
            raise InvalidInput(
                "nobody can be asked here whether to change it.", argument="--yes", next_step="Add --yes to do so."
            )
        if not typer.confirm("Change it?", default=True):
            typer.echo("Nothing was changed.")
            raise typer.Exit(1)
        if (again := planned()) == change:
            break
        typer.echo("Somebody else has changed the file meanwhile. Now it would be:")
        change = again
        _show(change)
    backup = write(change, home)
    what = "Deleted" if change.after is None else "Changed" if change.before is not None else "Made"
    typer.echo(f"{what} {change.path}" + (f"; what was there is in {backup}" if backup else ""))
    return True


def _show(change: Change) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(str(change.path), "bold"))
    colours = {"+": "green", "-": "red", "@": "dim"}
    for line in _diff(change):
        console.print(Text(line, colours.get(line[0], "")))


def _diff(change: Change) -> Sequence[str]:
    """What changes, line by line, with a little around it. Keys that stand there are not shown."""
    from difflib import unified_diff

    before, after = (change.before or "").splitlines(), (change.after or "").splitlines()
    lines = list(unified_diff(before, after, n=_CONTEXT, lineterm=""))[2:]
    return [_HIDDEN.sub(r"\1…\2", line) for line in lines]


def _given(host: Host, names: Sequence[str]) -> dict[str, str]:
    from atlas_mcp.settings import foreign

    found = foreign(*names)
    for name in names:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidInput(
                f"{name!r} is no name of a variable.", argument="--env", next_step="Name one, such as ATLAS_MODEL."
            )
        if name not in found and not (is_secret(name) and host.reference is not None):
            raise InvalidInput(
                f"{name} is not set in this shell.", argument="--env", next_step=f"Set it first: export {name}=..."
            )
    return {name: found.get(name, "") for name in names}


def _mention_keys(host: Host, variables: dict[str, str]) -> None:
    """Of what decides on the model here: that a host may start the server without it."""
    from atlas_mcp.settings import PROVIDER_VARIABLES, foreign

    if unsaid := [name for name in foreign("ATLAS_MODEL", *PROVIDER_VARIABLES) if name not in variables]:
        options = " ".join(f"--env {name}" for name in unsaid)
        typer.echo(
            f"This shell sets {', '.join(unsaid)}, and {host.title} may not hand that on: put it into settings.toml in "
            f"the home folder, or add {options}."
        )


def _machine() -> Machine:
    from atlas_mcp.settings import foreign

    return Machine(sys.platform, Path.home(), foreign(*VARIABLES))
