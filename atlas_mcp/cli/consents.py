"""`atlas-mcp tools consents`: which tools may be called without asking again, and taking that back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.permissions import Consent

consents = typer.Typer(name="consents", no_args_is_help=True, add_completion=False)
Http = Annotated[bool, typer.Option("--http", help="Of clients that come over HTTP with the home's key.")]


@consents.command("list")
def list_consents(http: Http = False) -> None:
    """List what you consented to, oldest first, with the ids that revoke takes."""
    import anyio

    found = anyio.run(_list, http)
    for one in found:
        typer.echo(_line(one))
    if not found:
        typer.echo("There are none: every call that writes, spends or destroys is asked about, as the settings say.")


@consents.command()
def revoke(
    named: Annotated[str, typer.Argument(metavar="ID|TOOL", help="A consent, or a tool: then all consents to it.")],
    http: Http = False,
) -> None:
    """Take consents back: calls of the tool are asked about again, at once, also by servers at work."""
    import anyio

    for one in anyio.run(_revoke, named, http):
        typer.echo(f"revoked: {_line(one)}")


def _line(one: Consent) -> str:
    where = f"in run {one.run_id}" if one.run_id else "always"
    return f"{one.id}  {one.tool} ({', '.join(one.marks)}), {where}, since {one.at:%Y-%m-%d %H:%M} UTC"


async def _list(http: bool) -> Sequence[Consent]:  # anyio.run passes by position
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.consents()


async def _revoke(named: str, http: bool) -> Sequence[Consent]:
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.revoke(named)
