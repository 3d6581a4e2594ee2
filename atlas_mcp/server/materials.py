"""Texts that a caller hands in: inline everywhere, and by path over stdio from folders that are allowed; and the
folders of the client's own that agents of a team task may look into.

A path is read only when, with every link followed, it is a regular file inside a folder that the settings or the
client's own roots allow. Over HTTP a path is refused: the caller's files are not the server's.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import anyio
from mcp import MCPError
from mcp.server.mcpserver import Context, ListRoots
from mcp.types import ListRootsRequest, ListRootsResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field, ValidationError

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.task import MAX_MATERIAL, Material
from atlas_mcp.server.asking import returned
from atlas_mcp.server.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.server.caller import Transport

MAX_FOLDERS = 20
_NO_ROOTS = ListRootsResult(roots=[])
_ROOTS_SECONDS = 10.0
_log = logging.getLogger(__name__)
_BYTES_PER_CHARACTER = 4


class MaterialInput(Frozen):
    """A text, or a file with it."""

    name: Annotated[str, Field(description="The name it is cited by.")]
    text: Annotated[str | None, Field(description="The text itself.")] = None
    path: Annotated[str | None, Field(description="Instead of text: a file, over stdio, in an allowed folder.")] = None


async def client_roots(ctx: Context[Any, Any]) -> ListRootsResult | ListRoots:
    """The client's roots, asked for when the client can tell; none over HTTP, where its files are not the server's."""
    capabilities = ctx.client_capabilities
    if returned(ctx) is not None:
        return _NO_ROOTS  # they were asked for in the first round
    if ctx.headers is not None or not (capabilities and capabilities.roots):
        return _NO_ROOTS
    return ListRoots() if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else await _asked(ctx)


async def _asked(ctx: Context[Any, Any]) -> ListRootsResult:
    """Ask by a request of our own, as earlier protocols do; a client that fails or hangs there has told none."""
    try:
        with anyio.move_on_after(_ROOTS_SECONDS):
            return await ctx.session.send_request(ListRootsRequest(), ListRootsResult)
    except MCPError as error:
        _log.warning("the client did not tell its roots: %s", error)
    return _NO_ROOTS


async def roots_of_path(ctx: Context[Any, Any], path: str | None = None) -> ListRootsResult | ListRoots:
    """The same for a tool that takes one path, and needs them only for that."""
    return await client_roots(ctx) if path else _NO_ROOTS


async def folders_of(roots: ListRootsResult, transport: Transport) -> tuple[str, ...]:
    """The folders among the client's roots that are on this machine; at most MAX_FOLDERS."""
    named = [_folder(str(root.uri)) for root in roots.roots] if transport == "stdio" else []

    def there() -> tuple[str, ...]:
        found = dict.fromkeys(str(one) for one in named if one and one.is_absolute() and one.is_dir())
        return tuple(found)[:MAX_FOLDERS]

    return await anyio.to_thread.run_sync(there) if named else ()


async def read_materials(
    given: Sequence[MaterialInput], transport: Transport, folders: Sequence[Path], roots: ListRootsResult
) -> list[Material]:
    """The texts, in order. Raises InvalidInput or OverLimit that names the one that cannot be used."""
    materials: list[Material] = []
    for index, one in enumerate(given):
        argument = f"materials.{index}"
        if (one.text is None) == (one.path is None):
            raise InvalidInput(
                "exactly one of text and path must be given.", argument=argument, next_step="Call again with one."
            )
        text = one.text
        if one.path is not None:
            text = await read_path(one.path, transport, folders, roots, argument=f"{argument}.path")
        materials.append(_material(one.name, text or "", argument))
    if len({m.name for m in materials}) != len(materials):
        raise InvalidInput("two have the same name.", argument="materials", next_step="Give each its own name.")
    return materials


def _material(name: str, text: str, argument: str) -> Material:
    if len(text) > MAX_MATERIAL:
        raise OverLimit(f"{argument}.text", len(text), MAX_MATERIAL)
    try:
        return Material(name=name, text=text)
    except ValidationError as error:
        raise invalid(error, argument) from None


def _folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" and parts.path else None


async def read_path(
    path: str, transport: Transport, folders: Sequence[Path], roots: ListRootsResult, *, argument: str
) -> str:
    """The text of a file that the caller may name. Raises InvalidInput or OverLimit for `argument`."""
    allowed = [*folders, *filter(None, (_folder(str(root.uri)) for root in roots.roots))]
    if transport == "http":
        raise InvalidInput("paths are refused over HTTP.", argument=argument, next_step="Pass the text itself as text.")
    if not allowed:
        raise InvalidInput(
            "no folder is allowed: the settings name none and the client offers no roots.",
            argument=argument,
            next_step="Pass the text itself as text, or set ATLAS_MATERIALS to the folders to read from.",
        )
    return await anyio.to_thread.run_sync(_read_file, path, allowed, argument)


def _read_file(path: str, allowed: Sequence[Path], argument: str) -> str:
    try:
        return _text_of(_found(path, allowed, argument), argument)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(
            f"the file cannot be read: {reason.lower()}.", argument=argument, next_step="Pass the text itself."
        ) from None


def _found(path: str, allowed: Sequence[Path], argument: str) -> Path:
    real_folders = [folder.resolve() for folder in allowed]
    candidates = [folder / path for folder in real_folders]  # an absolute path stays itself
    found = [real for c in candidates if any((real := c.resolve()).is_relative_to(f) for f in real_folders)]
    if not found:
        raise InvalidInput(
            "that path is outside the allowed folders.",
            argument=argument,
            allowed=[str(f) for f in allowed],
            next_step=f"Allowed are: {', '.join(str(f) for f in allowed)}.",
        )
    file = next((f for f in found if f.is_file()), None)
    if file is None:
        raise InvalidInput("there is no such file.", argument=argument, next_step="Check the path, or pass the text.")
    return file


def _text_of(file: Path, argument: str) -> str:
    try:
        size = file.stat().st_size
        if size > MAX_MATERIAL * _BYTES_PER_CHARACTER:
            raise OverLimit(argument, size, MAX_MATERIAL)
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(
            "the file is not UTF-8 text.", argument=argument, next_step="Convert it to plain text first."
        ) from None
